"""Lip Movements Generation at a Glance (Chen, Li, Maddox, Duan, Xu, ECCV 2018).

One lip image and 0.64 s of audio give 16 frames of the lip region at once. Four losses: adversarial, with three streams
and mismatched audio; correlation of the audio's derivative with optical flow; features of an autoencoder; L1. Layers,
losses and weights are those of the authors' code (lelechen63/3d_gan).

Optical flow is the least-squares flow of Lucas and Kanade (`flow.py`) in the place of a FlowNet that was trained on
other data: it needs no weights and is differentiable.
"""
