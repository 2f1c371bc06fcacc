"""Every setting of davs_jax: its meaning, its unit, and the reason for its default.

The defaults are the published system (DAVS, AAAI 2019, and its official code). The other files in this folder state
only their differences. Any setting can be changed on the command line: --config.data.batch_size=32

A stage is defined by the networks that it trains and by the terms of the loss that have weight; the rest of the recipe
is the same for all stages.
"""

from ml_collections import ConfigDict

NETWORKS = (
    *("person_encoder", "visual_encoder", "audio_encoder", "decoder", "word_classifier", "person_classifier"),
    *("word_adversary", "person_adversary", "modality_discriminator"),
    *("sequence_discriminator", "frame_discriminator", "syncnet"),
)

# Stage → the networks that it trains, and the weights of its loss terms (official values where published).
STAGES = {
    # Pretrains the person encoder on labelled faces. Mentioned in the paper; its code was not released.
    "person": (("person_encoder", "person_classifier"), {"person_ce": 1.0}),
    # Pretrains the joint word space on clips, without generation.
    "word": (
        ("visual_encoder", "audio_encoder", "word_classifier"),
        {"word_ce": 1.0, "contrastive": 1.0, "modality": 1.0},
    ),
    # Trains SyncNet, which measures lip sync (models/syncnet.py); no other stage uses it.
    "syncnet": (("syncnet",), {"sync": 1.0}),
    # Ours: trains the decoder with frozen word encoders, on one random frame per clip, without adversaries.
    "generator": (("person_encoder", "decoder"), {"l1": 4.0, "mouth": 8.0}),
    # Trains all networks together.
    "joint": (
        ("person_encoder", "visual_encoder", "audio_encoder", "decoder", "word_classifier"),
        {
            "word_ce": 1.0,
            "contrastive": 1.0,
            "modality": 5.0,
            "pid_uniform": 1.0,
            "wid_uniform": 1.0,
            "l1": 4.0,
            "mouth": 8.0,
            "temporal": 5.0,
            "gan_sequence": 1.0,
        },
    ),
}


def get_config(stage: str = "joint") -> ConfigDict:
    """The published configuration of one stage: `person`, `word`, `generator`, `joint` or `syncnet`.

    Raises:
      ValueError: an unknown stage.
    """
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}; the stages are {', '.join(STAGES)}")
    trained, weights = STAGES[stage]
    c = ConfigDict()
    c.seed = 0
    c.steps = 3_054_700  # optimizer steps: 100 epochs of LRW's 488,766 clips at batch 16

    # Initial weights: workdirs or exported weight folders, separated by commas; "" is random initialisation. A network
    # is taken from the first of them that has it; names and shapes must match exactly.
    c.init_from = ""
    # Networks that init_from must provide; a missing one is an error, not a silent random initialisation.
    c.init_networks = ()
    # Networks that this stage trains; its other networks are frozen and use their running statistics.
    c.trained = trained
    # Modalities from which words are recognised and frames are generated. A single one is for ablations
    # (configs/ablations); the terms that need both must then be 0.
    c.modalities = ("audio", "video")

    # The vocabulary, in the order of the labels. () takes that of the clips; a run stores it with its weights, so that
    # they name the words that they read, and read clips of some of them.
    c.words = ()

    c.model = m = ConfigDict()
    m.system = "davs"  # the talking-face system: davs, or one of davs_jax/baselines (configs/baselines)
    m.image_size = 256  # pixels: 64, 128, 256 or 512
    m.width = 1.0  # multiplier of all hidden channel counts; 1 is the published system
    m.embed_dim = 256  # length of pid
    m.wid_dim = 256  # length of wid; a shorter one has less room for the person
    m.num_words = 500  # vocabulary size; must equal that of the clips
    m.num_identities = 40_145  # identity classes; must equal that of the face images
    m.word_frames = 12  # frames that the word classifier reads
    # Frames per clip that are generated, and that the sequence discriminator reads.
    m.sequence_frames = 1 if stage == "generator" else 6
    m.adversary_frames = 20  # frames that the word adversary reads; 12 reuses the word frames, which costs less
    m.dropout = 0.5  # in the visual encoder, the word adversary and the person classifier
    m.align_corners = True  # bilinear upsampling of PyTorch 0.2, with which the released weights were trained
    # Compute type of the convolutions: float32, or bfloat16, which halves memory and, on TPUs and GPUs, time.
    # Parameters, batch statistics, losses and gradients stay float32, and so does the sum of gradients over devices (on
    # GPUs the gradients of convolution kernels are bfloat16 until they are summed: davs_jax/models/convolution.py).
    m.dtype = "float32"
    # Ours, not in the published topology:
    m.skips = (8,)  # strides of the person maps that enter the decoder, of 32, 16, 8, 4, 2; published: (8,)
    m.word_skips = ()  # strides at which wid enters the decoder again: a shorter path from the word to the mouth
    # Side in pixels to which the visual encoder reduces larger images before it reads them; 0 reads them as they are.
    # Lips can be read at 64 px, at a fraction of the time, and weights learnt at that size serve at every other.
    m.visual_size = 0
    # Word vectors are normalised per feature over the frames of a clip, before everything that reads them: none (as
    # published), mean (subtracts it), or mean_variance (also divides by the deviation).
    m.wid_norm = "none"
    # What is heard of speech: mfcc (as published: 12 coefficients of 300 to 3,700 Hz, without loudness), or log_mel
    # (40 log mel magnitudes of 60 to 7,600 Hz, with loudness).
    m.spectrum = "mfcc"
    # Side in pixels of SyncNet's images: 224 sees whole images, as published; 48, 96 and 192 the lower part of aligned
    # faces of 64, 128 and 256 px, without resizing.
    m.sync_size = 224
    m.flow = False  # a field of displacements moves the photo's pixels before they are blended; needs blend
    # Stride of the decoder's map that gives this field. A coarser one stretches the lips less when the mouth opens, and
    # leaves its inside to be generated.
    m.flow_stride = 4
    m.blend = False  # the decoder also outputs a mask: frame = mask · generated + (1 − mask) · photo

    c.data = d = ConfigDict()
    # Folder of clip shards, written by data_prep. Ours: several, separated by commas, are read as one corpus.
    d.clips = ""
    # Ours: the share of these clips that is used, chosen by the seed; below 1 it shows what more of them would bring.
    d.share = 1.0
    # Ours: a folder of clip shards whose words are not known or not used, such as VoxCeleb2's, and its share of each
    # batch. They train everything but the word loss; "" is none.
    d.unlabelled = ""
    d.unlabelled_share = 0.5
    d.faces = ""  # folder of identity shards; required by person_ce and wid_uniform
    d.split = "train"
    d.batch_size = 16  # clips per optimizer step, on all devices together
    d.face_batch_size = 16  # identity images per step, on all devices together; read only if a term uses them
    # Ours: the photo is a generated frame, or at most this many frames before or after them; 0 is any of the clip, as
    # published. Heads turn in a second, lips move in a tenth of one: a photo from nearby leaves the lips to learn.
    # On presenters it moved the lips more closely, with three seeds (docs/presenters.md); configs/real.py has 3.
    d.photo_within = 0
    d.flip = True  # mirror half of the clips horizontally
    d.crop = True  # random crop of the stored frame; else the central one
    d.color_jitter = 0.0  # ours: brightness, contrast and tint vary per clip by up to this fraction
    d.audio_jitter = 0.0  # ours, 0…1: speech is heard through random microphones and noise (davs_jax/data/channel.py)
    d.threads = 8  # threads that read and decode ahead
    d.prefetch = 2  # batches that wait on the device

    c.optim = o = ConfigDict()
    o.learning_rate = 2e-4  # Adam, both players
    o.discriminator_learning_rate = 2e-4
    o.b1 = 0.9
    o.b2 = 0.999
    o.eps = 1e-8
    o.schedule = "constant"  # constant, or cosine (decays to zero at the last step)
    o.warmup_steps = 0  # steps in which the learning rate rises linearly from 0
    o.clip_norm = 0.0  # limit of the global gradient norm, per player; 0 is none, as published
    o.ema_decay = 0.0  # ours: decay of the moving average of the generator player's weights; 0 is none

    # Weights of the generator player's terms. 0 removes a term from the step, and the adversary that only it needs.
    c.loss = w = ConfigDict()
    w.person_ce = 0.0  # identity cross-entropy on pid
    w.word_ce = 0.0  # word cross-entropy, audio and video
    w.contrastive = 0.0  # contrastive loss between the modalities (its form: contrastive, below)
    w.modality = 0.0  # fools the modality discriminator, audio and video
    w.pid_uniform = 0.0  # removes words from pid; multiplies the published weight, 1e6 at 500 words
    w.wid_uniform = 0.0  # removes persons from wid; multiplies the same weight for the number of identities
    w.l1 = 0.0  # L1 between generated and real frames, on the 0…255 scale
    w.mouth = 0.0  # the same inside the mouth box
    w.mouth_l2 = 0.0  # ours: squared error inside the mouth box, on the 0…255 scale
    w.warp = 0.0  # ours: squared error of the photo that the flow head moved, before anything is blended over it
    w.temporal = 0.0  # L1 between consecutive audio-driven frames, outside the mouth box
    w.gan_sequence = 0.0  # sequence discriminator: patch head and audio-match head
    w.gan_frame = 0.0  # frame discriminator: the same heads; off in the official code
    # Ours: a frozen SyncNet tells from which of the clip's moments five generated frames are. It needs a trained one:
    # its run in init_from, and "syncnet" in init_networks.
    w.sync_expert = 0.0
    w.sync = 0.0  # SyncNet: matches the 5-frame windows of a clip with their audio, in both directions
    w.update(weights)

    # clip: L2 contrastive on normalised vectors of whole clips, video detached (the published joint stage); chunks: on
    # thirds of clips, in both directions (published word pretraining); frames: ours, symmetric InfoNCE over all frames
    # of the batch.
    c.contrastive = "chunks" if stage == "word" else "clip"
    # Ours: Transductive Centroid Projection (Liu et al. 2018): in the word loss, a clip without a word is a class of
    # its own, whose weights are the centroid of its audio's and its video's features. False: it has no word loss.
    c.tcp = False
    c.margin = 1.0  # of the L2 contrastive forms, clip and chunks
    c.label_softness = 0.1  # upper bound of the random smoothing of the discriminators' real/fake labels
    # Scale of the image losses' gradient at the word vectors. 1 as published; our small models lower it: on the 0…255
    # scale that gradient is a hundred times that of the word losses, and a small model forgets its words.
    c.wid_gradient = 1.0
    # Factors of the word vectors of speech and of a driving video, in generation and evaluation only; stored with the
    # weights. What is learned by regression moves less than its examples; a factor above 1 makes up for it.
    c.audio_gain = 1.0
    c.video_gain = 1.0
    c.bn_grouping = "batch"  # batch norm over all frames at once (batch), or per call of the official code (official)

    c.mesh = ConfigDict()
    c.mesh.data = -1  # devices for data parallelism; -1 takes all that are left
    # Devices over which parameters, optimizer state and averages are sharded (the batch is sharded over both axes).
    # Keep 1 while they fit one device: a parameter takes 12 bytes with Adam, 16 with averages.
    c.mesh.fsdp = 1

    # Gradient accumulation: parts in which a step reads its batch one after the other; memory for activations shrinks
    # by this factor. The step is not the same: negatives of the contrastive losses and statistics of batch norm come
    # from one part, and running statistics move once per part. The players keep their order, so with adversaries the
    # forward is computed twice. The batch size must be divisible by devices × parts.
    c.accumulate = 1

    # Rematerialisation: what a network's backward pass recomputes instead of storing. "none"; "activations": all but
    # the outputs of convolutions (norms, ReLUs, pooling: cheap); "all": the whole forward.
    c.remat = ConfigDict(dict.fromkeys(NETWORKS, "none"))

    c.log = g = ConfigDict()
    g.every = 50  # steps between logged metrics
    g.images_every = 1_000  # steps between logged images of generated frames; 0 is never
    g.eval_every = 5_000 if "word_classifier" in trained else 0  # steps between validations; 0 is never
    g.eval_batches = 0  # batches per validation; 0 is the whole split
    g.eval_split = "val"
    g.wandb = ""  # Weights & Biases project that metrics and images also go to (extra `wandb`); "" is none

    # Profile of a few steps, written to WORKDIR/profile for TensorBoard and Perfetto (davs_jax/monitor/profiles.py).
    c.profile = ConfigDict()
    c.profile.steps = 0  # steps to capture; 0 is none; a few suffice, and the files are large
    c.profile.after = 10  # steps to skip after each start, until compilation and warm-up are over

    c.checkpoint = k = ConfigDict()
    k.every = 1_000  # steps between checkpoints
    k.keep = 3  # number of latest checkpoints to keep, besides the best one
    k.keep_every = 0  # also keep checkpoints whose step is a multiple of this; 0 is none
    k.verify = True  # write checksums with each checkpoint, and verify them before it is restored
    k.best = "video_accuracy" if "word_classifier" in trained else ""  # validation metric of the best one; "" is none
    return c


def chain(config: ConfigDict, stage: str, root: str, without: tuple[str, ...] = ()) -> None:
    """Initialises a stage from the workdirs `root/<earlier stage>` of the same recipe, except those in `without`."""
    earlier = {"generator": ("word", "person"), "joint": ("generator", "word", "person")}.get(stage, ())
    config.init_from = ",".join(f"{root}/{name}" for name in earlier if name not in without)
    config.init_networks = {
        "generator": ("visual_encoder", "audio_encoder"),
        "joint": STAGES["joint"][0],
    }.get(stage, ())
