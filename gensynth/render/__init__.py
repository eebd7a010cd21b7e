"""Values as what a person reads, in a terminal or a file.

    figures     a number with its unit, an interval, a duration; columns under each other
    cycles      the running table of a synthesis, a row a cycle
    result      prototype and FermiNets side by side
    notes       what that table must not be read without
    family      networks drawn from a learned generator, a row a seed
    answers     what a classifier takes images for
    artefacts   what was exported, and shown of it
    bench       measurements, with their ratios and intervals
    estimates   what nobody measured, with intervals and assumptions
    profile     what each kernel of a network takes
    flags       what a measurement's flags mean
    devices     the machines that networks are measured on
    reach       what --plan says at once: the data, and what can be reached
    forecast    what it says after a short measurement: how long it will take
    inspection  what can be changed in a network, and what stays and why
    documents   any of these for programs: JSON, and rows for CSV and data frames
    seeds       the other way round: 0:50 as a person writes it
    visible     control characters of others, written out
    live        the first of these while it happens, with bars in a terminal

All but `live` return text or rows and print nothing. A text fits `width` columns where its words
let it, and is the same in a terminal and in a pipe.
"""
