"""From files of any source to slices on disk and batches on the device."""
