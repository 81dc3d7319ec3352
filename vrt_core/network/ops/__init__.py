"""Operations of the network, one file each: a fast implementation beside its reference."""
