"""Speech2Vid: "You said that?" (Chung, Jamaludin, Zisserman, BMVC 2017).

An encoder-decoder without disentanglement: five stills say who, 0.35 s of audio say what, and skip connections carry
the face to the decoder, which is trained with L1 alone. A second network sharpens the frames. Layers and windows are
those of the authors' demo (joonson/yousaidthat) as listed in a reimplementation (leeeeeeo/yousaidthat-tf); training
code was never released.
"""
