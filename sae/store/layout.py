"""The context store on disk: this is the reference of its format, version 1.

A store is a folder. It holds, for every unit of one hook of one subject (the features of a dictionary and the
neurons themselves), the contexts in which it fires and what they stand for. Arrays are .npy files in C order,
little-endian, to be memory-mapped; tables are Parquet.

    manifest.json               what was harvested, by which settings, and a checksum of every other file (below)
    vocab.json                  list of str: display text of each token id
    documents.parquet           document, domain, source, name: the documents that contexts/ points to
    contexts/tokens.npy         int32  [n_contexts, window]   the distinct windows of tokens, ordered by position
    contexts/length.npy         uint16 [n_contexts]           how many of the tokens are real
    contexts/document.npy       int32  [n_contexts]           row of documents.parquet: the document that the token
                                                              in the middle of the window belongs to
    contexts/position.npy       int64  [n_contexts]           offset of the window's first token in the stream of
                                                              the corpus's split
    random/context.npy          int32  [n_random]             row of contexts/: the random contexts, the same for all
                                                              units, ordered by position
    random/focus.npy            uint16 [n_random]             which token of the window was drawn

and for each kind of unit (`feature`, `neuron`), in a folder of that name:

    offsets.npy                 int64  [n_units + 1]          records of unit u are the rows offsets[u]:offsets[u + 1]
    context.npy                 int32  [n_records]            row of contexts/
    focus.npy                   uint16 [n_records]            which token of the window the record was chosen for
    stratum.npy                 uint8  [n_records]            why it was chosen; ascending within a unit
    activations.npy             float32 [n_records, window]   the unit's activation on each token of the window
    random.npy                  float32 [n_units, n_random, window]   the same for the random contexts
    statistics.parquet          a row per unit, in order: unit, fired, density, max, mean, mean_square, scale
    histogram.npy               int64  [n_units, 2048]        tokens by activation, in equal bins of (0, scale]
    interval_edges.npy          float32 [n_units, 14]         edges of the 13 slices of (0, max]
    interval_tokens.npy         int64  [n_units, 13]          how many tokens of the corpus each slice stands for
    top_tokens.npy              int32  [n_units, 10]          the commonest focus tokens of the top contexts, -1 padded
    logit_top_tokens.npy        int32  [n_units, 10]          tokens whose logit the unit raises most, -1 padded
    logit_top_values.npy        float32 [n_units, 10]         by how much, the unit's median over all tokens being 0
    logit_bottom_tokens.npy, logit_bottom_values.npy          the same for the tokens it lowers most
                                The four files are missing where the subject has no direct path to the logits.

Strata.
    0        a top context. Each block is cut into equal segments of two windows or more (a short block is one
             segment); the unit's highest activation in a segment is a candidate, and the highest candidates are
             top contexts. So the focus is the maximum of its window (the first, if several are equal) and two top
             contexts never overlap. Ordered by activation, highest first, then by position.
    1 .. 13  a uniform sample of the tokens in slice 0 .. 12 of (0, max], slice 12 being the highest; `interval_tokens`
             says of how many. Drawn without regard to the top contexts, so the same window can be in both. The order
             is random: the first k records of a stratum are a uniform sample too, but for tokens of a block
             that is in the sample already, which come last.
    100      out of context: a top token of the unit elsewhere in the corpus. The window overlaps no top context of the
             unit. Ordered in rounds through the unit's top tokens, so that the first k are spread over them.
Random contexts are windows around tokens drawn uniformly, at most one from a block.

A window lies inside one block and is centred on its focus (`window // 2` tokens before it) except near an end of the
block (for a top context: of the segment), where it is shifted. It can hold the end of one document and the beginning
of the next. Windows around different tokens can overlap: whoever needs disjoint contexts compares positions.

A slice's edges are those of the 13 equal slices of [0, max], moved (but for max) to the nearest edge of the
histogram's bins, so that counts are exact and a sample belongs to exactly one slice. A token is in slice i when
edges[i] < activation <= edges[i + 1], the activation being rounded to float32. A unit that never fires has zeros for
statistics and edges and no records, but it has random contexts.

Statistics: `fired` is the number of tokens with an activation above 0 and `density` its share of all tokens; `max`,
`mean` and `mean_square` are of max(activation, 0) over all tokens, as float32; `scale`, the end of the histogram, is
the least power of two that is not below max, and 0 where that is 0.

manifest.json:
    format "autointerp-context-store", version 1
    subject {name, fingerprint}, hook, dictionary {name, fingerprint} or null
    corpus {name, split, tokens, fingerprint}       tokens: how many were scanned
    window, precision, seed, intervals (13), control (null, or what kind of control this subject is)
    sampling {top, per_interval, random, out_of_context, segments_per_block}    how many were asked for
    kinds {kind: {units, records}}
    files {relative name: {sha256, bytes}}
"""

from __future__ import annotations

FORMAT = "autointerp-context-store"
VERSION = 1

INTERVALS = 13
"""Equal slices of [0, max activation] (TM, "Automated Interpretability")."""
BINS = 2048
"""Bins of the histogram. A power of two, so that doubling the scale unites them in pairs."""
LISTED_TOKENS = 10
"""How many top tokens, and how many tokens at either end of the logits, are listed for a unit."""

# Codes of strata.
TOP = 0
LOWEST_INTERVAL = 1
"""Slice i has the code LOWEST_INTERVAL + i."""
OUT_OF_CONTEXT = 100
