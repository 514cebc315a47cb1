"""Liver CT segmentation: data sets, learners, metrics and plotting behind the notebooks."""
