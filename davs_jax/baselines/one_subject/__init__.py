"""One-subject mode, after "Synthesizing Obama" (Suwajanakorn, Seitz, Kemelmacher-Shlizerman, SIGGRAPH 2017).

One person's footage is fitted. A recurrent network with a look-ahead turns MFCC into mouth shapes (PCA of 18 lip
points). The mouth's texture is the weighted median of the footage's frames of the nearest shapes, sharpened by a teeth
proxy. It is blended into the target footage, which is retimed so that it rests where the speech does.

Differences from the paper: minutes of footage in the place of 17 hours; points of FaceMesh in aligned faces take the
place of 3-D pose and frontalisation; the teeth proxy is chosen and masked automatically; the jaw is not corrected.
"""
