"""Drawn people who speak: what `data_prep.synthetic` writes, from voices and faces to the files of the corpus."""
