"""Every knob of davs_jax: what it is, its unit, and why it has its default.

The defaults are the published system (DAVS, AAAI 2019, and its official code). The other files in this folder
state only their differences. Any knob can be set on the command line: --config.data.batch_size=32

A stage is nothing but which networks train and which terms of the loss have weight; the rest of the recipe
is the same for all.
"""

from ml_collections import ConfigDict

NETWORKS = (
    *("person_encoder", "visual_encoder", "audio_encoder", "decoder", "word_classifier", "person_classifier"),
    *("word_adversary", "person_adversary", "modality_discriminator"),
    *("sequence_discriminator", "frame_discriminator", "syncnet"),
)

# Stage → the networks it trains, and the weights of the terms that it minimises (official values where published).
STAGES = {
    # Pretrains the person encoder on labelled faces. Named in the paper, never released.
    "person": (("person_encoder", "person_classifier"), {"person_ce": 1.0}),
    # Pretrains the joint word space on clips, without generation.
    "word": (
        ("visual_encoder", "audio_encoder", "word_classifier"),
        {"word_ce": 1.0, "contrastive": 1.0, "modality": 1.0},
    ),
    # SyncNet, the judge of lip sync (models/syncnet.py): a network of its own, that no other stage uses.
    "syncnet": (("syncnet",), {"sync": 1.0}),
    # Warms the decoder up against frozen word encoders: one random frame a clip, no adversaries. Ours.
    "generator": (("person_encoder", "decoder"), {"l1": 4.0, "mouth": 8.0}),
    # Everything together.
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

    # Where the starting weights come from: workdirs or exported weight folders, separated by commas, or "" for fresh
    # weights. A network is taken from the first place that has it; names and shapes must match exactly.
    c.init_from = ""
    # Networks that must be found in init_from (missing ones are an error, not a silent fresh start).
    c.init_networks = ()
    # Networks this stage trains; the others it uses run frozen, with their running statistics.
    c.trained = trained
    # What the stage reads words from, and draws from. One alone is for comparison (configs/claims): terms that compare
    # the two must then be off.
    c.modalities = ("audio", "video")

    c.model = m = ConfigDict()
    m.image_size = 256  # pixels; a power of two, 64…512
    m.width = 1.0  # multiplies every hidden channel count; 1 is the published system
    m.embed_dim = 256  # length of pid and of wid
    m.num_words = 500  # vocabulary; must equal the data's
    m.num_identities = 40_145  # identity classes of the face set; must equal the data's
    m.word_frames = 12  # frames that the word classifier reads
    # Frames that are generated and that the sequence discriminator sees.
    m.sequence_frames = 1 if stage == "generator" else 6
    m.adversary_frames = 20  # frames that the word adversary reads; 12 reuses the word frames (cheaper)
    m.dropout = 0.5  # in the visual encoder, the word adversary and the person classifier
    m.align_corners = True  # bilinear upsampling as in PyTorch 0.2, with which the released weights were trained
    # Compute type of the convolutions: float32, or bfloat16, which halves memory and on TPUs and GPUs the time.
    # Parameters, statistics of norms, losses and gradients stay float32, and so does the sum of gradients over the
    # devices (on GPUs the kernels' gradients are bfloat16 until they are summed: davs_jax/models/convolution.py).
    m.dtype = "float32"
    # Our own options beside the published topology:
    m.skips = (8,)  # person maps that enter the decoder, by stride; published (8,); ours adds 16, 4, 2
    m.word_skips = ()  # strides at which wid enters the decoder once more: a short way from the word to the mouth
    m.blend = False  # the decoder also gives a mask: output = mask · generated + (1 − mask) · photo

    c.data = d = ConfigDict()
    d.clips = ""  # folder of clip shards (made by data_prep)
    d.faces = ""  # folder of identity shards; needed where a term uses faces
    d.split = "train"
    d.batch_size = 16  # clips per optimizer step, over all devices
    d.face_batch_size = 16  # identity images per step, over all devices; read only where a term uses them
    d.flip = True  # mirror half of the clips
    d.crop = True  # random offset of the crop in the stored frame
    d.color_jitter = 0.0  # our own: brightness, contrast and tint vary by up to this fraction per clip
    d.threads = 8  # that read and decode ahead
    d.prefetch = 2  # batches kept ready on the device

    c.optim = o = ConfigDict()
    o.learning_rate = 2e-4  # Adam, both players
    o.discriminator_learning_rate = 2e-4
    o.b1 = 0.9
    o.b2 = 0.999
    o.eps = 1e-8
    o.schedule = "constant"  # constant or cosine (to zero at the last step)
    o.warmup_steps = 0
    o.clip_norm = 0.0  # global gradient norm limit per player; 0 is none, as published
    o.multipliers = ConfigDict()  # of the learning rate, by layer, as {"syncnet/face/conv1": 0.02}; ours
    o.ema_decay = 0.0  # exponential moving average of the generator player's weights; 0 is none; ours

    # Weights of the generator player's terms. 0 takes a term, and the adversary that only it needs, out of the step.
    c.loss = w = ConfigDict()
    w.person_ce = 0.0  # identity cross-entropy on pid
    w.word_ce = 0.0  # word cross-entropy, audio and video
    w.contrastive = 0.0  # L2 contrastive between the modalities
    w.modality = 0.0  # confusion of the modality discriminator, both ways
    w.pid_uniform = 0.0  # words out of pid; multiplies the stated rule (1e6 at 500 words)
    w.wid_uniform = 0.0  # persons out of wid; multiplies the same rule of the identity count
    w.l1 = 0.0  # L1 of the generated frames on the 0…255 scale
    w.mouth = 0.0  # the same, masked to the mouth box
    w.mouth_l2 = 0.0  # ours: squared error in the mouth box, 0…255 scale
    w.temporal = 0.0  # L1 outside the mouth to the frame before, audio-driven
    w.gan_sequence = 0.0  # sequence discriminator, patch and audio-match heads
    w.gan_frame = 0.0  # frame discriminator, the same; off in the official code
    w.sync = 0.0  # SyncNet: a clip's windows of 5 frames find their own among its sounds, and the sounds their windows
    w.update(weights)

    # clip: normalised clip vectors, video detached (joint); chunks: a third of a clip, both ways (word pretraining);
    # frames: ours, a softmax over all frames of the batch, both ways
    c.contrastive = "chunks" if stage == "word" else "clip"
    c.margin = 1.0  # of the L2 contrastive losses
    c.label_softness = 0.1  # discriminators' real/fake labels are softened by up to this much per call
    # Scale of the picture losses' gradient at the word vectors: 1 as published; ours lowers it, because on the 0…255
    # scale it outweighs the word losses a hundredfold and a small model forgets its words.
    c.wid_gradient = 1.0
    c.bn_grouping = "batch"  # batch: norms see all frames of a call; official: groups as the official code calls

    c.mesh = ConfigDict()
    c.mesh.data = -1  # devices along the batch; −1 takes all that are left
    # Devices that parameters, optimizer state and averages are divided over; the batch is divided over both axes. 1 is
    # right while they fit: a parameter takes 12 bytes with Adam, 16 with averages.
    c.mesh.fsdp = 1

    # Parts in which a step reads its batch, one after the other: memory for activations by this factor less. Not the
    # same step: contrastive losses find their wrong answers, and norms their statistics, within a part, and running
    # statistics move once a part. Both players keep their order, so the forward is computed twice where there are
    # adversaries. The batch must divide by devices × parts.
    c.accumulate = 1

    # What a network's backward pass computes again instead of keeping it: "none"; "activations", all but the outputs of
    # convolutions (norms, rectifiers, pooling: cheap); "all", a second forward.
    c.remat = ConfigDict(dict.fromkeys(NETWORKS, "none"))

    c.log = g = ConfigDict()
    g.every = 50  # steps between scalars
    g.images_every = 1_000  # steps between pictures of generated frames; 0 is never
    g.eval_every = 5_000 if "word_classifier" in trained else 0  # steps between validations; 0 is never
    g.eval_batches = 0  # batches per validation; 0 is the whole split
    g.eval_split = "val"
    g.wandb = ""  # project of Weights & Biases that gets all of it too (extra `wandb`); "" is none

    # A profile of a few steps, in WORKDIR/profile, for TensorBoard and Perfetto (davs_jax/monitor/profiles.py).
    c.profile = ConfigDict()
    c.profile.steps = 0  # steps to capture; 0 is none; a few do, files grow large
    c.profile.after = 10  # steps into this start of the run, when compiling and warming up are over

    c.checkpoint = k = ConfigDict()
    k.every = 1_000  # steps
    k.keep = 3  # latest checkpoints kept, beside the best
    k.keep_every = 0  # checkpoints of steps that this divides are kept too; 0 is none
    k.verify = True  # write checksums with each checkpoint, and verify them before one is restored
    k.best = "video_accuracy" if "word_classifier" in trained else ""  # figure that chooses the best; "" is none
    return c


def chain(config: ConfigDict, stage: str, root: str, without: tuple[str, ...] = ()) -> None:
    """Lets a stage start from the workdirs `root/<earlier stage>` of the same recipe, `without` those it leaves out."""
    earlier = {"generator": ("word", "person"), "joint": ("generator", "word", "person")}.get(stage, ())
    config.init_from = ",".join(f"{root}/{name}" for name in earlier if name not in without)
    config.init_networks = {
        "generator": ("visual_encoder", "audio_encoder"),
        "joint": STAGES["joint"][0],
    }.get(stage, ())
