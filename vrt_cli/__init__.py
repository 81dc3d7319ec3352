"""The command line `vrt`: video files, image folders and pipes in and out."""
