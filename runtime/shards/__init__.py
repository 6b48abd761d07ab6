"""Steps where each process holds a part of the parameters: DTensors of FSDP2 and of tensor parallelism.

    layout      how a tensor lies over processes: which box of it is where
    local       buckets of DTensors as buckets of the tensors in this process
    pieces      the local programs of a step, compiled once for each way in which a parameter is cut
    messages    packed all-reduces, and matrices to their owners and back
    step        one step: local programs and messages in turn
"""
