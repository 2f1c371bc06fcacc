"""The table of a corpus of one's own: what it may say, and the sentence for every mistake in it."""

import pytest

from data_prep import labels
from data_prep.plan import PreparationError

VIDEOS = ["a.mp4", "talks/b.mov", "talks/c.mkv", "more/c.mp4"]


@pytest.fixture
def read(tmp_path):
    def from_text(text, min_confidence=0.5, encoding="utf-8"):
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode(encoding))
        return labels.read(path, VIDEOS, min_confidence)

    return from_text


def test_a_row_is_a_word_of_the_video_with_its_times_speaker_and_split(read):
    table = read("clip,note,Word,start,end,speaker,split\nb,x,hi,0.5,1,anna,val\nb,,you,1,1.5,,\na,,,,,ben,\n")
    said = table.videos["talks/b.mov"]
    assert [(word.text, word.start, word.end, word.line) for word in said.words] == [
        ("hi", 0.5, 1, 2),
        ("you", 1, 1.5, 3),
    ]
    assert (said.speaker, said.split) == ("anna", "val")
    assert (table.videos["a.mp4"].words, table.videos["a.mp4"].speaker) == ([], "ben")


@pytest.mark.parametrize("name", ["talks/c.mkv", "talks/c", "c.mkv"])
def test_a_clip_is_named_by_its_path_or_its_unique_name(read, name):
    assert list(read(f"clip,speaker\n{name},anna\n").videos) == ["talks/c.mkv"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets_are_read_in_their_encoding(read, encoding):
    table = read("clip,word,start,end\r\na,السلام,0,1\r\n\r\n", encoding=encoding)
    assert table.videos["a.mp4"].words[0].text == "السلام"


@pytest.mark.parametrize("mark", [";", "\t"])
def test_tables_of_spreadsheets_are_read_with_their_delimiter(read, mark):
    text = "clip|word|start|end\na|hi, you|0|1\n".replace("|", mark)
    assert read(text).videos["a.mp4"].words[0].text == "hi, you"
    assert read(f"sep={mark}\r\n{text}").videos["a.mp4"].words[0].line == 3


def test_words_of_low_confidence_are_left_out_and_counted(read):
    text = "clip,word,start,end,confidence\na,hi,0,1,0.4\na,you,1,2,0.5\n"
    table = read(text)
    assert [word.text for word in table.videos["a.mp4"].words] == ["you"]
    assert table.unsure == 1
    assert len(read(text, min_confidence=0).videos["a.mp4"].words) == 2


def test_a_clip_without_its_video_is_set_aside_once(read):
    table = read("clip,word,start,end\nz,hi,0,1\na,hi,0,1\nz,you,1,2\n")
    (stray,) = table.strays
    assert (stray["file"], stray["stage"], stray["reason"]) == ("labels.csv (line 2, z)", "label", "no video fits it")
    assert list(table.videos) == ["a.mp4"]


TIMED = "clip,word,start,end,confidence\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: the header '' has no column clip; add it"),
        ("name,word\na,hi\n", "the header 'name,word' has no column clip"),
        ("clip|word\na|hi\n", "the header 'clip|word' has no column clip; add it, with commas, semicolons or tabs"),
        ("clip,word,start\na,hi,0\n", "has no column end; add it (times of words are seconds"),
        ("clip,clip\na,a\n", "the column clip is there twice"),
        (TIMED + "a,hi,2,1,1\n", "line 2: start '2' is after the end '1'; correct the times"),
        (TIMED + "a,hi,x,1,1\n", "line 2: start 'x' is no number of seconds from 0"),
        (TIMED + "a,hi,0,,1\n", "line 2: end '' is no number of seconds"),
        (TIMED + "a,hi,-1,1,1\n", "line 2: start '-1' is no number of seconds from 0"),
        (TIMED + "a,hi,0,1,high\n", "line 2: confidence 'high' is no number;"),
        (TIMED + "a,hi,0,nan,1\n", "line 2: end 'nan' is no number"),
        (TIMED + ",hi,0,1,1\n", "line 2: clip '' is empty; name the row's video"),
        (TIMED + "a,hi,0,1\n", "line 2: has 4 values, the header has 5"),
        (TIMED + 'a,"hi,0,1,1\n', "cannot be read as CSV"),
        ("clip,speaker\nc,anna\n", "line 2: clip 'c' fits 2 videos, talks/c.mkv and more/c.mp4; give its path"),
        ("clip,speaker\na,anna\na.mp4,ben\n", "line 3: speaker 'ben' contradicts an earlier row of this clip, which"),
        ("clip,split\na,val\na,train\n", "line 3: split 'train' contradicts an earlier row"),
        ("clip,split\na,dev\n", "line 2: split 'dev' is no split; it is one of train, val, test"),
        ("clip,speaker\ny,anna\nz,ben\n", "line 2: clip 'y' fits no video, nor does any other row's; give paths below"),
    ],
)
def test_a_mistake_is_named_with_its_line_value_and_remedy(read, text, says):
    with pytest.raises(PreparationError) as error:
        read(text)
    assert says in str(error.value)
    assert "labels.csv" in str(error.value)


def test_a_missing_table_or_one_that_is_no_text_is_an_error(tmp_path):
    with pytest.raises(PreparationError, match="no such file; check --labels"):
        labels.read(tmp_path / "absent.csv", VIDEOS, 0.5)
    (tmp_path / "labels.csv").write_bytes(b"clip,word\n\xff\xff\xff")
    with pytest.raises(PreparationError, match="is not text in UTF-8"):
        labels.read(tmp_path / "labels.csv", VIDEOS, 0.5)
