"""What tests need, of this package and of those that build on it; each module says what it holds.

networks             every network, small, and a batch for it
two_phase_network    a network that is trained in phases and comes from outside the package
two_processes        a training in two real processes
scans, heads         scans, label maps and lesions that any machine can make
loopback_hub         a Hub of one's own on 127.0.0.1
"""
