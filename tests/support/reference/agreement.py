"""Two routings of the same tokens, token by token and expert by expert."""

from itertools import permutations


def counts(first, second, num_experts):
    """Every count of one layer. first, second: the experts of every token, lists without empty slots."""
    joint = [[0] * num_experts for _ in range(num_experts)]
    swaps = [[0] * num_experts for _ in range(num_experts)]
    differing = shared = slots = 0
    for one, other in zip(first, second, strict=True):
        slots += max(len(set(one)), len(set(other)))
        shared += sum(e in other for e in set(one))
        differing += set(one) != set(other)
        for e in set(one):
            for f in set(other):
                joint[e][f] += 1
                if e not in other and f not in one:
                    swaps[e][f] += 1
    return {"joint": joint, "swaps": swaps, "differing": differing, "shared": shared, "slots": slots}


def best_matching(joint):
    """The largest number of tokens that a one-to-one relabelling of the experts can keep; tries all."""
    experts = range(len(joint))
    return max(sum(joint[e][order[e]] for e in experts) for order in permutations(experts))


def bfloat16(value):
    """The nearest number with 8 significant bits, ties to the even one."""
    from fractions import Fraction
    from math import frexp, ldexp

    if value == 0:
        return value
    mantissa, exponent = frexp(value)
    exact = Fraction(mantissa) * 256
    return ldexp(round(exact), exponent - 8)
