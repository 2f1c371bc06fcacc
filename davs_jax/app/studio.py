"""The page itself: its controls, and what they do."""

import html
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from davs_jax.app import face_picker
from davs_jax.app.face_picker import Choice
from davs_jax.app.limits import Limits
from davs_jax.constants import FPS
from davs_jax.errors import DavsError
from davs_jax.generate.jobs import Job, Style, make, read_driver
from davs_jax.talker import Talker

VOICE, VIDEO = "A voice", "A driving video"


@dataclass(frozen=True)
class Studio:
    """What the page does, without its controls.

    Attributes:
      signer: as `signing.signer` returns it.
      folder: of temporary files.
    """

    model: Talker
    signer: object
    limits: Limits
    folder: Path

    def talk(
        self,
        choice: Choice,
        voice: Path | None,
        video: Path | None,
        crop: bool,
        mark: bool,
        say: Callable[[str], None] = print,
    ) -> Path:
        """Generates an mp4 from a selected face and one driver, as the command does; returns its path.

        Raises:
          DavsError: it cannot be done.
        """
        output = Path(tempfile.mkdtemp(dir=self.folder)) / "talking.mp4"
        job = Job(choice.path, output, voice, video, choice.points)
        driver = read_driver(job, FPS, say, self.limits.seconds)
        make(self.model, job, Style(crop=crop, mark=mark, signer=self.signer), say, driver)
        return output


def page(studio: Studio):
    """The page as `gradio.Blocks`."""
    import gradio as gr

    def plain(message: str) -> str:
        """The message as HTML, with files by name: visitors do not see this computer's folders."""
        return html.escape(re.sub(rf"{re.escape(str(studio.folder))}/(?:[^/]*/)*", "", message), quote=False)

    def refusal(message: str) -> gr.Error:
        return gr.Error(plain(message), None, title="That does not work", print_exception=False)

    def show(choice: Choice):
        return choice, face_picker.annotated(choice), face_picker.hint(choice), *[gr.update(visible=True)] * 2

    def nothing(why: str = ""):
        return None, None, why, *[gr.update(visible=False)] * 2

    def look(path: str | None):
        try:
            return show(face_picker.look(Path(path))) if path else nothing()
        except DavsError as error:
            return nothing(f"**That does not work:** {plain(error.told('page'))}")

    def click(choice: Choice | None, event: gr.SelectData):
        return show(face_picker.clicked(choice, *event.index)) if choice else nothing()

    def talk(choice, kind, voice, video, crop, mark, progress=gr.Progress(track_tqdm=True)):  # noqa: B008 (Gradio's way)
        if choice is None or not choice.complete:
            raise refusal(face_picker.hint(choice) if choice else "Give a photo first.")
        if (driver := voice if kind == VOICE else video) is None:
            raise refusal("Give a voice first." if kind == VOICE else "Give a driving video first.")
        drivers = (Path(driver), None) if kind == VOICE else (None, Path(driver))
        try:
            return str(studio.talk(choice, *drivers, crop, mark, lambda text: gr.Info(plain(text), None)))
        except DavsError as error:
            raise refusal(error.told("page")) from error

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
                # The file as it was uploaded: `read_image` checks its content and describes errors.
                photo.preprocess = lambda payload: payload and payload.path
                hint = gr.Markdown("", elem_id="hint")
                with gr.Row():
                    find = gr.Button("Find the face", size="sm", visible=False)
                    place = gr.Button("Set the points by hand", size="sm", visible=False, elem_id="by-hand")
            with gr.Column():
                gr.Markdown("## 2. What it says")
                kind = gr.Radio([VOICE, VIDEO], value=VOICE, label="Driven by", show_label=False, elem_id="kind")
                voice = gr.Audio(
                    label="Voice",
                    show_label=False,
                    type="filepath",
                    sources=["upload", "microphone"],
                    buttons=[],
                    elem_id="voice",
                )
                video = gr.Video(
                    label="Driving video",
                    show_label=False,
                    sources=["upload"],
                    visible=False,
                    height=240,
                    buttons=[],
                    elem_id="driving-video",
                )
                crop = gr.Checkbox(label="Only the face, not the whole photo")
                mark = gr.Checkbox(label="Write “AI-generated” into the image")
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
            lambda k: [gr.update(visible=k == VOICE), gr.update(visible=k == VIDEO)], kind, [voice, video], **private
        )
        start.click(talk, [choice, kind, voice, video, crop, mark], result, api_name="talk")
    return blocks.queue(max_size=studio.limits.queue, default_concurrency_limit=1)


def _span(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} s"
