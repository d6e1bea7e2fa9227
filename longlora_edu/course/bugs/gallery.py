"""The gallery: what each mistake is called, where it was seen, how it shows, and what to tell whoever made it.

Where it was seen is as of 2026, from reading the code. Projects move on, and no mistake is a verdict on its authors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import functions as f


@dataclass(frozen=True)
class Bug:
    """One way to get S²-Attn wrong.

    `function` makes the mistake and has the signature of `reference.s2_attention`; `variants` make the same one in
    other forms. `seen_in` names published code and its thread, and is empty for a slip that is a learner's only.
    `symptom` says how it shows in a run or a test, `sentence` is what an exercise check answers. Without padding a
    mistake `with_padding_only` is none at all.
    """

    name: str
    title: str
    seen_in: str
    symptom: str
    sentence: str
    function: Callable
    variants: tuple[Callable, ...] = ()
    with_padding_only: bool = False

    @property
    def published(self) -> bool:
        """Whether it was found in code that others published."""
        return bool(self.seen_in)


_ALL = (
    Bug(
        name="output_shifted",
        title="The output is shifted instead of q, k and v",
        seen_in="MakazhanAlpamys/Soup, thread 158; with full attention, the flash path of ms-swift's longlora tuner",
        symptom="No query meets a key of another group; tokens get another one's output, the first that of the end.",
        sentence="The output is shifted, not q, k and v: attention ran inside the plain groups, so no query ever met a "
        "key of another group. Shift q, k and v before attention, and the output back after it.",
        function=f.output_shifted,
        variants=(f.output_shifted_left, f.full_output_shifted),
    ),
    Bug(
        name="values_left_behind",
        title="Queries and keys are shifted, values are not",
        seen_in="MakazhanAlpamys/Soup, after thread 158",
        symptom="The weights are computed between the right tokens and then applied to values of other tokens.",
        sentence="Queries and keys are shifted but values are not: the weights point at the right keys and collect "
        "somebody else's values. Shift all three.",
        function=f.values_left_behind,
        variants=(f.only_queries_and_keys_shifted,),
    ),
    Bug(
        name="tokens_split",
        title="Half of the tokens are shifted instead of half of the heads",
        seen_in="asked in JIA-Lab-research/LongLoRA, thread 126; a course project that split the token axis",
        symptom="All heads have the same mask, and its grid changes in the middle of the sequence.",
        sentence="Half of the tokens are shifted, in every head. It is half of the heads that are shifted, with all "
        "their tokens: split the head axis.",
        function=f.tokens_split,
        variants=(f.late_tokens_shifted,),
    ),
    Bug(
        name="no_shift_back",
        title="The output is never shifted back",
        seen_in="",
        symptom="Shifted heads hand each token the result of a token half a group later: a shifted residual stream.",
        sentence="The shift is never undone: on the shifted heads each token got the output of a token that stands "
        "`shift` places later. Roll the output back.",
        function=f.in_slots,
    ),
    Bug(
        name="shifted_back_the_wrong_way",
        title="Shifted to the left before attention, and to the left again after it",
        seen_in="",
        symptom="Shifted heads hand each token the result of a token two shifts later.",
        sentence="The output of the shifted heads is rolled the same way twice. What was rolled by `-shift` must be "
        "rolled back by `+shift`.",
        function=f.shifted_back_the_wrong_way,
    ),
    Bug(
        name="rolled_back_inside_groups",
        title="Rolled back before the groups were joined again",
        seen_in="hiyouga/LlamaFactory, longlora.py since its first version; a review in PaddlePaddle/PaddleNLP, thread "
        "8341, caught a wrong order of these steps",
        symptom="The first part of each group gets the output of the tokens one group later: the future, every layer.",
        sentence="The output is rolled back inside each group. Join the groups to one sequence first, then roll.",
        function=f.rolled_back_inside_groups,
    ),
    Bug(
        name="wrap_leak",
        title="The last tokens and the first share a group, in rolled order",
        seen_in="the paper's Algorithm 1; JIA-Lab-research/LongLoRA, the path without flash: threads 15, 90",
        symptom="The first tokens look at the last ones: the training loss is no longer that of a language model.",
        sentence="The first tokens look at the last ones, which is the future: rolling put them into one group and "
        "causality was judged in rolled order. Cut that group in two.",
        function=f.wrap_leak,
    ),
    Bug(
        name="ends_joined",
        title="The last tokens and the first share a group",
        seen_in="",
        symptom="No leak, but the last tokens see the first ones: boundary 'masked' where 'split' was asked for.",
        sentence="The last tokens may look at the first ones. Nothing leaks, but this is boundary='masked': under "
        "'split' the two ends are cells of their own.",
        function=f.ends_joined,
    ),
    Bug(
        name="odd_group",
        title="An odd group is shifted by one number and shifted back by another",
        seen_in="JIA-Lab-research/LongLoRA, llama_attn_replace.py: `-group_size // 2` there, `group_size // 2` back",
        symptom="With an even group all is well; with an odd one the shifted heads come back one token off.",
        sentence="For an odd group, `-G // 2` and `G // 2` are not opposites: Python rounds down, so -5 // 2 is -3. "
        "Name the shift once and roll by `-shift` and `shift`.",
        function=f.odd_group,
    ),
    Bug(
        name="missing_scale",
        title="Scores without their scale",
        seen_in="",
        symptom="The softmax is too sharp, more so in wide heads; masks and shapes are all right.",
        sentence="The scores are not scaled by 1 / sqrt(d), d being the width of one head. The mask is right.",
        function=f.missing_scale,
        variants=(f.scaled_without_the_root,),
    ),
    Bug(
        name="all_heads_shifted",
        title="All heads are shifted",
        seen_in="a course notebook (isabelarvelo/LongLoRA) that rolls along an axis it takes for the heads",
        symptom="No plain head is left: groups begin elsewhere, but they do not mix any more than without a shift.",
        sentence="All heads are shifted. Only heads from num_heads // 2 on are to be; the others keep plain groups, "
        "and it is the two kinds together that let groups talk.",
        function=f.all_heads_shifted,
    ),
    Bug(
        name="never_shifted",
        title="No head is shifted",
        seen_in="",
        symptom="At any depth a token hears its own group only.",
        sentence="No head is shifted: every head has plain groups, so no token ever hears another group.",
        function=f.never_shifted,
    ),
    Bug(
        name="halves_swapped",
        title="The first half of the heads is shifted",
        seen_in="",
        symptom="As good as the right one when trained alone, but not the same function.",
        sentence="The first half of the heads is shifted; it is heads from num_heads // 2 on that are.",
        function=f.halves_swapped,
        variants=(f.larger_half_swapped,),
    ),
    Bug(
        name="smaller_half_shifted",
        title="An odd head count is halved the other way",
        seen_in="",
        symptom="Right with an even head count; with an odd one the head in the middle stays plain.",
        sentence="With an odd head count the head in the middle is shifted too: heads from num_heads // 2 on. "
        "(`chunk(2)` gives the larger half first.)",
        function=f.smaller_half_shifted,
    ),
    Bug(
        name="shifted_the_other_way",
        title="Shifted to the right",
        seen_in="",
        symptom="Groups begin at group_size - shift: the same cells when the shift is half of an even group, else not.",
        sentence="The shift goes to the other side: cells of the shifted heads begin at token `shift`, which is what "
        "rolling by `-shift` does.",
        function=f.shifted_the_other_way,
    ),
    Bug(
        name="not_causal",
        title="No causal mask inside the groups",
        seen_in="",
        symptom="Every token looks at the later ones of its group.",
        sentence="Inside a group tokens look at later ones. A query may look at itself and at what stands before it.",
        function=f.not_causal,
    ),
    Bug(
        name="alternate_groups",
        title="Alternate groups are shifted instead of half of the heads",
        seen_in="the documentation and code of AiDotNet's LongLoRAAdapter",
        symptom="Tokens turn inside every second group: groups never mix, and what was turned leaks its own future.",
        sentence="Tokens are turned inside every second group. Groups must stay whole and move: on half of the heads, "
        "all of them, by `shift`.",
        function=f.alternate_groups,
    ),
    Bug(
        name="axes_confused",
        title="Heads, tokens and batch change places in the reshape",
        seen_in="PaddlePaddle/PaddleNLP, longlora.py; on the way back, the official GPT-NeoX flash path: "
        "JIA-Lab-research/LongLoRA, thread 93",
        symptom="Shapes are right and numbers are not: tokens attend to other heads' tokens, the loss starts too high.",
        sentence="The reshape into groups mixes heads and tokens: the axes must be (b h c g d) before (b c) can become "
        "the batch. Name them with einops.",
        function=f.folded_without_transpose,
        variants=(f.unfolded_with_one_transpose_too_many,),
    ),
    Bug(
        name="padding_left_behind",
        title="The padding mask stays behind when tokens are shifted",
        seen_in="JIA-Lab-research/LongLoRA, the path without flash, which stamps the first group's mask on all, and "
        "two integrations; the flash path has faults with padding of its own: thread 148",
        symptom="Right without padding; with it, shifted heads read padding and skip real tokens.",
        sentence="Tokens are shifted and the marks of padding are not: shifted heads skip the wrong tokens. Shift "
        "`segments` along with q, k and v.",
        function=f.padding_left_behind,
        variants=(f.first_groups_padding,),
        with_padding_only=True,
    ),
)

BUGS: dict[str, Bug] = {bug.name: bug for bug in _ALL}
