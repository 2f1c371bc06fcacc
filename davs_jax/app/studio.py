"""The page itself: what it shows, and what happens at a click."""

import html
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from davs_jax.app import face_picker
from davs_jax.app.face_picker import Choice
from davs_jax.constants import FPS
from davs_jax.errors import MediaError
from davs_jax.generate.follow import GenerationError
from davs_jax.generate.jobs import Job, Style, make, read_driver
from davs_jax.inference import Davs
from davs_jax.media import video
from davs_jax.media.photo import PhotoError
from davs_jax.provenance.credentials import ProvenanceError

REFUSALS = (GenerationError, MediaError, PhotoError, ProvenanceError)
VOICE, FILM = "A voice", "A driving video"


@dataclass(frozen=True)
class Limits:
    """What one request may cost."""

    upload_mb: int = 100  # of one file
    seconds: int = 120  # of a result
    queue: int = 8  # requests that may wait; the next is turned away
    keep: int = 3600  # s that files are kept
    request_mb: int | None = None  # of all files of one request; as of one file where not given

    @property
    def request_bytes(self) -> int:
        return (self.request_mb or self.upload_mb) * 2**20


@dataclass(frozen=True)
class Studio:
    """What the page does, without the page: the model, what signs, the limits, and the folder of files in between."""

    model: Davs
    signer: object
    limits: Limits
    folder: Path

    def talk(
        self,
        choice: Choice,
        voice: Path | None,
        film: Path | None,
        crop: bool,
        mark: bool,
        say: Callable[[str], None] = print,
    ) -> Path:
        """Generates from a chosen face and one driver, as the command does → an mp4.

        Raises:
          one of REFUSALS.
        """
        driver_path = voice or film
        if (length := video.probe(driver_path).duration) > self.limits.seconds:
            raise self._too_long(driver_path, length)
        output = Path(tempfile.mkdtemp(dir=self.folder)) / "talking.mp4"
        job = Job(choice.path, output, voice, film, choice.points)
        driver = read_driver(job, FPS, say)
        if (length := driver.frames / FPS) > self.limits.seconds:
            raise self._too_long(driver_path, length)
        make(self.model, job, Style(crop=crop, mark=mark, signer=self.signer), say, driver)
        return output

    def _too_long(self, path: Path, seconds: float) -> GenerationError:
        return GenerationError(f"{path}: lasts {seconds:.0f} s, and here {self.limits.seconds} s are allowed; cut it")


def page(studio: Studio):
    """The page as `gradio.Blocks`."""
    import gradio as gr

    def plain(message: str) -> str:
        """For the user's eyes, who knows no options of the command line and no folders of this computer."""
        message = re.sub(rf"{re.escape(str(studio.folder))}/(?:[^/]*/)*", "", message)
        return html.escape(message.replace("with --audio", "by a voice"), quote=False)

    def refusal(message: str) -> gr.Error:
        return gr.Error(plain(message), None, title="That does not work", print_exception=False)

    def show(choice: Choice):
        return choice, face_picker.drawn(choice), face_picker.hint(choice), *[gr.update(visible=True)] * 2

    def nothing(why: str = ""):
        return None, None, why, *[gr.update(visible=False)] * 2

    def look(path: str | None):
        try:
            return show(face_picker.look(Path(path))) if path else nothing()
        except REFUSALS as error:
            return nothing(f"**That does not work:** {plain(str(error))}")

    def click(choice: Choice | None, event: gr.SelectData):
        return show(face_picker.clicked(choice, *event.index)) if choice else nothing()

    def talk(choice, kind, voice, film, crop, mark, progress=gr.Progress(track_tqdm=True)):  # noqa: B008 (Gradio's way)
        if choice is None or not choice.complete:
            raise refusal(face_picker.hint(choice) if choice else "Give a photo first.")
        if (driver := voice if kind == VOICE else film) is None:
            raise refusal("Give a voice first." if kind == VOICE else "Give a driving video first.")
        drivers = (Path(driver), None) if kind == VOICE else (None, Path(driver))
        try:
            return str(studio.talk(choice, *drivers, crop, mark, lambda text: gr.Info(plain(text), None)))
        except REFUSALS as error:
            raise refusal(str(error)) from error

    with gr.Blocks(title="A photo that talks", analytics_enabled=False) as blocks:
        gr.Markdown("# A photo that talks\nGive a photo of a face, and a voice or a video of somebody speaking.")
        choice = gr.State(None)
        with gr.Row():
            with gr.Column():
                gr.Markdown("## 1. Photo")
                photo = gr.Image(
                    label="Photo",
                    show_label=False,
                    type="filepath",
                    sources=["upload", "clipboard"],
                    height=340,
                    elem_id="photo",
                )
                # The file as it is: what it holds is for `read_image` to find out, and to say.
                photo.preprocess = lambda payload: payload and payload.path
                hint = gr.Markdown("", elem_id="hint")
                with gr.Row():
                    find = gr.Button("Find the face", size="sm", visible=False)
                    place = gr.Button("Set the points by hand", size="sm", visible=False, elem_id="by-hand")
            with gr.Column():
                gr.Markdown("## 2. What it says")
                kind = gr.Radio([VOICE, FILM], value=VOICE, label="Driven by", show_label=False, elem_id="kind")
                voice = gr.Audio(
                    label="Voice",
                    show_label=False,
                    type="filepath",
                    sources=["upload", "microphone"],
                    buttons=[],
                    elem_id="voice",
                )
                film = gr.Video(
                    label="Driving video",
                    show_label=False,
                    sources=["upload"],
                    visible=False,
                    height=240,
                    buttons=[],
                    elem_id="film",
                )
                crop = gr.Checkbox(label="Only the face, not the whole photo")
                mark = gr.Checkbox(label="Write “AI-generated” into the picture")
                start = gr.Button("Make it talk", variant="primary", elem_id="start")
        gr.Markdown("## 3. Result")
        result = gr.Video(
            label="Result", show_label=False, interactive=False, height=420, buttons=["download"], elem_id="result"
        )
        gr.Markdown(
            f"Up to {studio.limits.seconds} s, and {studio.limits.upload_mb} MB a file. Files are removed after "
            f"{_span(studio.limits.keep)}. Use faces and voices with their owners' consent, and say that the video is "
            "generated; it says so itself, in its metadata.",
            elem_classes="soft",
        )
        chosen = [choice, photo, hint, find, place]
        private = {"api_visibility": "private"}
        photo.input(look, photo, chosen, api_name="look")
        photo.select(click, choice, chosen, **private)
        find.click(lambda c: show(face_picker.look(c.path)), choice, chosen, **private)
        place.click(lambda c: show(face_picker.by_hand(c)), choice, chosen, **private)
        kind.change(
            lambda k: [gr.update(visible=k == VOICE), gr.update(visible=k == FILM)], kind, [voice, film], **private
        )
        start.click(talk, [choice, kind, voice, film, crop, mark], result, api_name="talk")
    return blocks.queue(max_size=studio.limits.queue, default_concurrency_limit=1)


def _span(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} s"
