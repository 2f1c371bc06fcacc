"""Sizes, rates, names and exit statuses that the whole system shares. Imports nothing."""

SAMPLE_RATE = 16_000  # Hz, mono
FPS = 25  # video frames per second
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
CLIP_FRAMES = 29  # frames of one LRW clip, and of every word clip cut from other corpora
FIRST_FRAME = 2  # the first frame of a clip that the networks see, as in the official code
USED_FRAMES = 25  # from FIRST_FRAME on, that training uses, as the official code does
WORD_FRAMES = 12  # of these, every second one: the most that the word classifier reads
IMAGE_SIZES = (64, 128, 256, 512)  # sides of the networks' images, pixels
MFCC_WIDTH = 12  # coefficients 1…12
SPECTRA = {"mfcc": MFCC_WIDTH, "log_mel": 40}  # config.model.spectrum → numbers of a column
MFCC_LENGTH = 20  # columns of the window of one frame (200 ms)
MFCC_PER_FRAME = 4  # columns per video frame: a 10 ms hop at 25 fps
FACE_KEYS = frozenset({"faces", "face_id"})  # keys of a batch that come from identity images; all others: clips
INTERRUPTED = 130  # exit status after Ctrl-C, as in shells
STOPPED = 75  # exit status of a run that a signal stopped (EX_TEMPFAIL): not finished, rerun the command
