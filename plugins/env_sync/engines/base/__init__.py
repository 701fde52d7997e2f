"""What all engines share: the contract, the lease, the proof."""
