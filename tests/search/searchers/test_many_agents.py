"""Policies, their gradients, and agents that share a design."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.search import (
    Budget,
    Choice,
    Goal,
    Integer,
    Objectives,
    Ordinal,
    ParameterSpace,
    Permutation,
    Real,
    Scores,
    Study,
    Trials,
)
from archwright.search.searchers.formulations import FORMULATIONS
from archwright.search.searchers.many_agents import ManyAgents, ranks
from archwright.search.searchers.mlp import Mlp
from archwright.search.searchers.policy import (
    Autoregressive,
    BinnedNormal,
    Network,
    Networks,
    Policy,
    Tables,
)
from archwright.search.searchers.policy_gradient import (
    PolicyGradient,
    Surrogate,
    value_gradient,
)
from archwright.testing import ToyEnvironment, check_searcher
from testing.subsets import GraphEnvironment

Floats = npt.NDArray[np.float64]
SIZES = (4, 3, 3, 8, 2, 2, 4, 4, 3, 8)  # of ArchGym's memory controller
SPACE = ParameterSpace({f"p{i}": Ordinal(range(k)) for i, k in enumerate(SIZES)})
GROUPS = (("p0", "p1", "p2", "p3"), ("p5", "p6", "p7"), ("p4", "p8", "p9"))
TOY = ToyEnvironment(
    space=ParameterSpace(
        {"a": Choice(["x", "y"]), "b": Integer(1, 3), "c": Choice([*"pqrs"]), "n": Integer(1, 9)}
    )
)
OPTIONS: dict[str, dict[str, Any]] = {name: {} for name in FORMULATIONS}
OPTIONS["grouped"] = {"groups": [["a", "b"]]}


def policies() -> dict[str, Policy]:
    """Every kind of policy on three heads, its parameters drawn away from their start."""
    rng = np.random.default_rng(7)
    sizes = (3, 2, 4)
    found: dict[str, Policy] = {
        "tables": Tables(sizes),
        "network": Network(sizes, rng, inputs=2, hidden=(5, 4)),
        "networks": Networks(sizes, rng.spawn(3), inputs=2, hidden=(5, 4)),
        "autoregressive": Autoregressive(sizes),
        "normal": BinnedNormal(sizes),
    }
    for policy in found.values():
        for array in policy.parameters:
            array += 0.5 * rng.standard_normal(array.shape)
    return found


def drawn(policy: Policy, n: int = 40) -> tuple[Floats, Floats, Floats]:
    """Actions, contexts and advantages."""
    rng = np.random.default_rng(3)
    context = rng.standard_normal((n, 2))
    return policy.sample(rng.random((n, 3)), context), context, rng.standard_normal(n)


def numeric(function: Any, arrays: list[Floats]) -> list[Floats]:
    """The gradient by central differences."""
    found = []
    for array in arrays:
        slope = np.empty_like(array)
        for at in np.ndindex(array.shape):
            kept = array[at]
            sides = []
            for step in (1e-5, -1e-5):
                array[at] = kept + step
                sides.append(function())
            array[at] = kept
            slope[at] = (sides[0] - sides[1]) / 2e-5
        found.append(slope)
    return found


def close(ours: list[Floats], theirs: list[Floats], relative: float) -> None:
    size = max(float(np.abs(array).max()) for array in theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=relative, abs=relative * size)


# Policies and their gradients


@pytest.mark.parametrize("kind", ["tables", "network", "networks", "autoregressive", "normal"])
@pytest.mark.parametrize("agents", [(0, 1, 2), (0, 0, 0), (0, 1, 0)])
def test_the_surrogates_gradient_is_that_of_finite_differences(
    kind: str, agents: tuple[int, ...]
) -> None:
    """After a change of the policy, so that some ratios are clipped and others are not."""
    policy = policies()[kind]
    actions, context, advantage = drawn(policy)
    surrogate = Surrogate(agents=np.array(agents), clip=0.2, entropy=0.1)
    old = surrogate.joint(policy.terms(actions, context)[0])
    rng = np.random.default_rng(1)
    for array in policy.parameters:
        array += 0.4 * rng.standard_normal(array.shape)
    ratio = np.exp(surrogate.joint(policy.terms(actions, context)[0]) - old)
    assert 0.05 < (np.abs(ratio - 1) > 0.2).mean() < 0.99

    ours = surrogate.gradient(policy, actions, context, advantage, old)

    def value() -> float:
        return surrogate.value(policy, actions, context, advantage, old)

    close(ours, numeric(value, policy.parameters), 1e-4)


def test_the_baselines_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    value = Mlp(2, (5, 4), 1, rng)
    context, reward = rng.standard_normal((9, 2)), rng.standard_normal(9)

    def loss() -> float:
        return float((-0.5 * (value.forward(context)[0][:, 0] - reward) ** 2).mean())

    close(value_gradient(value, context, reward), numeric(loss, value.parameters), 1e-4)


@pytest.mark.parametrize("kind", ["tables", "network", "networks", "autoregressive"])
def test_without_clip_one_epoch_is_reinforce_with_a_baseline(kind: str) -> None:
    """Σ advantage · ∇ log p, computed here one action at a time."""
    policy = policies()[kind]
    actions, context, reward = drawn(policy)
    advantage = reward - reward.mean()
    surrogate = Surrogate(agents=np.zeros(3, dtype=np.int64), clip=np.inf, entropy=0.0)
    old = surrogate.joint(policy.terms(actions, context)[0])

    ours = surrogate.gradient(policy, actions, context, advantage, old)

    theirs = [np.zeros_like(array) for array in policy.parameters]
    for i in range(len(actions)):
        one = policy.gradient(actions[i : i + 1], context[i : i + 1], np.ones((1, 3)), 0.0)
        for total, part in zip(theirs, one, strict=True):
            total += advantage[i] * part / len(actions)
    close(ours, theirs, 1e-12)


def test_the_table_learns_what_reinforce_on_a_product_of_categoricals_does() -> None:
    """The gradient of a logit is Σ advantage · (1[drawn] - p): written out."""
    policy = Tables([3, 2])
    actions = np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 0.0]])
    advantage = np.array([1.0, -0.5, -0.5])
    surrogate = Surrogate(agents=np.array([0, 1]), clip=0.2, entropy=0.0)
    old = surrogate.joint(policy.terms(actions, np.ones((3, 1)))[0])

    (both,) = surrogate.gradient(policy, actions, np.ones((3, 1)), advantage, old)
    first, second = both[:3], both[3:]

    assert first == pytest.approx(np.array([1.0, 0.0, -1.0]) / 3)
    assert second == pytest.approx(np.array([-0.5, 0.5]) / 3)


def test_n_agents_are_one_network_of_n_heads_without_a_shared_trunk() -> None:
    """One network whose layers are the agents' own, block by block, has the same gradients."""
    sizes, width = (3, 2, 4), 5
    agents = Networks(sizes, np.random.default_rng(0).spawn(3), inputs=2, hidden=(width, width))
    one = Network(sizes, np.random.default_rng(1), inputs=2, hidden=(3 * width, 3 * width))
    edges = np.concatenate([[0], np.cumsum(sizes)])
    blocks: list[list[tuple[slice, ...]]] = []  # of each agent, where its arrays stand in one's
    for h in range(3):
        own, out = slice(h * width, (h + 1) * width), slice(edges[h], edges[h + 1])
        every = slice(None)
        blocks.append([(every, own), (own,), (own, own), (own,), (own, out), (out,)])
    for array in one.parameters:
        array[...] = 0.0
    for at, array in enumerate(agents.parameters):
        one.parameters[at % 6][blocks[at // 6][at % 6]] = array
    actions, context, advantage = drawn(agents)
    surrogate = Surrogate(agents=np.arange(3), clip=0.2, entropy=0.1)
    old = surrogate.joint(agents.terms(actions, context)[0]) + 0.1 * np.sin(np.arange(3))

    ours = surrogate.gradient(agents, actions, context, advantage, old)
    theirs = surrogate.gradient(one, actions, context, advantage, old)

    close(ours, [theirs[at % 6][blocks[at // 6][at % 6]] for at in range(18)], 1e-12)


def test_joint_and_own_ratios_agree_before_the_first_change() -> None:
    """One learner of all heads and a learner a head differ only once the ratios leave 1."""
    policy = policies()["tables"]
    actions, context, advantage = drawn(policy)
    gradients = []
    for agents in ([0, 1, 2], [0, 0, 0]):
        surrogate = Surrogate(agents=np.array(agents), clip=0.2, entropy=0.1)
        old = surrogate.joint(policy.terms(actions, context)[0])
        gradients.append(surrogate.gradient(policy, actions, context, advantage, old))
    close(gradients[0], gradients[1], 1e-12)


@pytest.mark.parametrize("kind", ["tables", "network", "networks", "autoregressive"])
def test_actions_are_drawn_as_often_as_their_probabilities_say(kind: str) -> None:
    policy = policies()[kind]
    rng = np.random.default_rng(0)
    context = np.ones((20_000, 2))
    actions = policy.sample(rng.random((20_000, 3)), context)
    log, _ = policy.terms(actions, context)
    seen, count = np.unique(actions, axis=0, return_counts=True)
    likely = {tuple(a): float(np.exp(p.sum())) for a, p in zip(actions, log, strict=True)}

    assert sum(likely.values()) == pytest.approx(1.0)
    for action, times in zip(seen, count, strict=True):
        p = likely[tuple(action)]
        assert times / 20_000 == pytest.approx(p, abs=5 * np.sqrt(p / 20_000))


def test_the_rounding_of_the_original_leaves_three_bins() -> None:
    """And the corrected mapper gives bins of equal width."""
    actions = np.linspace(-1, 1, 8001)[:-1, None]
    _, count = np.unique(BinnedNormal([8]).values(actions), return_counts=True)
    assert count.tolist() == [1000] * 8
    assert set(BinnedNormal([8], rounding=True).values(actions)[:, 0].tolist()) == {0, 4, 7}
    assert BinnedNormal([3], rounding=True).values(np.array([[-9.0], [9.0]])).tolist() == [
        [0],
        [2],
    ]


def test_a_constant_reward_teaches_nothing() -> None:
    policy = Tables([3])
    surrogate = Surrogate(agents=np.zeros(1, dtype=np.int64), clip=0.2, entropy=0.0)
    learner = PolicyGradient(policy, surrogate, learning_rate=0.1, epochs=3)
    learner.learn(np.array([[0.0], [2.0]]), np.ones((2, 1)), np.full(2, 5.0))
    assert policy.parameters[0].tolist() == [0.0, 0.0, 0.0]


# The searcher


@pytest.mark.parametrize("name", FORMULATIONS)
def test_it_keeps_the_contract(name: str) -> None:
    def make() -> ManyAgents:
        return ManyAgents(formulation=name, batch=16, **OPTIONS[name])

    check_searcher(make, environment=TOY, objectives=(1,), processes=False)


@pytest.mark.parametrize("name", ["per_parameter", "factored"])
def test_networks_keep_the_contract(name: str) -> None:
    def make() -> ManyAgents:
        return ManyAgents(formulation=name, batch=16, network=True, reward="loss")

    check_searcher(make, environment=TOY, objectives=(1,), processes=False)


def test_it_takes_every_finite_kind_of_parameter() -> None:
    """Permutations, conditions, limits and ranges by ratio."""
    space = ParameterSpace(
        {
            "o": Permutation(3),
            "k": Choice(["x", "y"]),
            "n": Integer(1, 30, log=True),
            "m": Integer(1, 6, when="k == 'x'"),
        },
        require=["n % 2 == 0"],
    )

    def make() -> ManyAgents:
        return ManyAgents(batch=16)

    check_searcher(
        make, environment=ToyEnvironment(space=space), objectives=(1,), processes=False, trials=64
    )


def rewarded(searcher: ManyAgents, space: ParameterSpace, reward: Any, calls: int) -> Floats:
    """Drive a searcher; returns the reward of each call."""
    searcher.start(space, Objectives(("reward",)), seed=0, capabilities={})
    found: list[float] = []
    while len(found) < calls:
        designs = searcher.ask(calls - len(found))
        n = len(designs)
        value = np.array([reward(design) for design in designs])
        searcher.tell(
            Trials(
                numbers=np.arange(len(found), len(found) + n),
                designs=designs,
                scores=Scores(
                    losses=-value[:, None],
                    violations=np.zeros((n, 1)),
                    feasible=np.ones(n, dtype=bool),
                ),
                fidelity=("full",) * n,
                parents=np.full(n, -1, dtype=np.int64),
                repeats=np.zeros(n, dtype=bool),
            )
        )
        found += value.tolist()
    return np.array(found)


def separable(seed: int) -> tuple[Any, float, list[int]]:
    """A sum of random tables, its optimum and where that is."""
    rng = np.random.default_rng(seed)
    tables = {f"p{i}": rng.random(k) for i, k in enumerate(SIZES)}
    top = sum(float(table.max()) for table in tables.values())
    where = [int(table.argmax()) for table in tables.values()]
    return lambda design: sum(table[design[p]] for p, table in tables.items()), top, where


@pytest.mark.parametrize("seed", range(5))
def test_agents_solve_a_separable_problem(seed: int) -> None:
    """99 % of the exact optimum within 2,000 calls, and the policies agree with it."""
    reward, top, where = separable(seed)
    searcher = ManyAgents()

    found = rewarded(searcher, SPACE, reward, 2_000)

    assert found.max() >= 0.99 * top
    likely = [int(p.argmax()) for p in searcher.distributions()]
    assert sum(a == b for a, b in zip(likely, where, strict=True)) >= 9


def test_networks_reach_what_tables_do() -> None:
    """On a constant context both can express the same."""
    reward, top, _ = separable(0)
    for options in ({"formulation": "per_parameter"}, {"formulation": "factored"}):
        searcher = ManyAgents(network=True, learning_rate=0.01, **options)  # type: ignore[arg-type]
        assert rewarded(searcher, SPACE, reward, 2_000).max() >= 0.99 * top


def test_a_group_keeps_both_solutions_of_an_interaction_where_agents_settle_on_one() -> None:
    """A pure XOR: no product of two distributions has both of its solutions."""
    space = ParameterSpace({"a": Choice([0, 1]), "b": Choice([0, 1])})

    def reward(design: Any) -> float:
        return float(design["a"] != design["b"])

    grouped = ManyAgents(
        formulation="grouped", groups=[["a", "b"]], learning_rate=0.05, entropy=0.1
    )
    rewarded(grouped, space, reward, 2_000)
    alone = ManyAgents(learning_rate=0.05, entropy=0.1)
    rewarded(alone, space, reward, 2_000)

    (joint,) = grouped.distributions()
    assert joint[[1, 2]].sum() > 0.95 and joint[[1, 2]].min() > 0.1
    a, b = alone.distributions()
    both = np.array([a[0] * b[1], a[1] * b[0]])
    assert both.sum() > 0.95 and both.min() < 0.01
    assert grouped.agents == [("a", "b")] and alone.agents == [("a",), ("b",)]


@settings(max_examples=10, deadline=None)
@given(st.permutations(list(SPACE.names)), st.booleans())
def test_permuting_the_agents_permutes_the_results(order: list[str], network: bool) -> None:
    """Each agent draws and begins from its name, so the order decides nothing."""
    reward, _, _ = separable(0)
    other = ParameterSpace({name: SPACE.parameters[name] for name in order})
    one, two = ManyAgents(network=network), ManyAgents(network=network)

    assert rewarded(one, SPACE, reward, 96) == pytest.approx(
        rewarded(two, other, reward, 96), rel=1e-12
    )
    for p, name in zip(one.distributions(), SPACE.names, strict=True):
        assert p == pytest.approx(two.distributions()[order.index(name)], rel=1e-12)


def test_equal_seeds_give_equal_runs() -> None:
    reward, _, _ = separable(1)
    for name in FORMULATIONS:
        groups = GROUPS if name == "grouped" else ()
        runs = [
            rewarded(ManyAgents(formulation=name, groups=groups), SPACE, reward, 200).tolist()
            for _ in range(2)
        ]
        assert runs[0] == runs[1]


def test_time_division_changes_one_parameter_a_step() -> None:
    """Each step is a design that is measured: ten calls for a pass over ten parameters."""
    searcher = ManyAgents(formulation="tdm", batch=10)
    searcher.start(SPACE, Objectives(("reward",)), seed=0, capabilities={})
    before = None
    for step in range(20):
        designs = searcher.ask(5)
        assert len(designs) == 1
        codes = designs.codes[0]
        if before is not None:
            assert set(np.flatnonzero(codes != before)) <= {step % 10}
        before = codes
        searcher.tell(
            Trials(
                numbers=np.array([step]),
                designs=designs,
                scores=Scores(
                    losses=np.ones((1, 1)),
                    violations=np.zeros((1, 1)),
                    feasible=np.ones(1, dtype=bool),
                ),
                fidelity=("full",),
                parents=np.array([-1]),
                repeats=np.zeros(1, dtype=bool),
            )
        )


def test_infeasible_designs_are_told_as_the_worst() -> None:
    """They are counted and learned from, never skipped."""
    stood = np.array([[0.0, 3.0], [0.0, 1.0], [1.0, 0.2], [2.0, 0.0]])
    assert ranks(stood).tolist() == pytest.approx([1 / 3, 1.0, -1 / 3, -1.0])
    assert ManyAgents(reward="loss")._rewards(stood).tolist() == [-3.0, -1.0, -3.0, -3.0]
    assert ManyAgents(reward="loss")._rewards(stood[2:]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formulation": "per_paramter"}, "unknown formulation 'per_paramter' .*'per_parameter'"),
        ({"formulation": "grouped"}, "groups: go with formulation 'grouped'"),
        ({"groups": [["a"]]}, "groups: go with formulation 'grouped', found 'per_parameter'"),
        ({"formulation": "grouped", "groups": ["ab"]}, "groups: expected lists of names"),
        ({"rounding": True}, "rounding: goes with formulation 'normal'"),
        ({"formulation": "normal", "network": True}, "network: formulation 'normal' has none"),
        ({"reward": "ranks"}, "unknown reward 'ranks'"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0"),
        ({"batch": 1}, "batch: expected a whole number from 2"),
        ({"clip": -1.0}, "clip: expected a number above 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        ManyAgents(**options)


def test_what_it_cannot_search_is_refused_in_a_line() -> None:
    goal = Goal(minimize=["cost"])
    budget = Budget(evaluations=8)
    reals = ToyEnvironment(space=ParameterSpace({"x": Real(0.0, 1.0)}))
    with pytest.raises(SpecificationError, match="x has inf values, expected at most 4,096"):
        Study(reals, goal, ManyAgents(), budget=budget).run()
    two = Goal(minimize=["cost", "time"])
    with pytest.raises(SpecificationError, match="many_agents takes one loss"):
        Study(TOY, two, ManyAgents(), budget=budget).run()
    with pytest.raises(SpecificationError, match="needs a space of named parameters"):
        graphs = GraphEnvironment()
        goal = Goal(minimize=[graphs.metrics[0].name])
        Study(graphs, goal, ManyAgents(), budget=budget).run()
    for groups, message in (
        ([["a", "bb"]], "groups: unknown parameter 'bb'"),
        ([["a", "b"], ["b"]], "'b' stands in two places"),
    ):
        with pytest.raises(SpecificationError, match=message):
            searcher = ManyAgents(formulation="grouped", groups=groups)
            Study(TOY, Goal(minimize=["cost"]), searcher, budget=budget).run()
    wide = ToyEnvironment(space=ParameterSpace({n: Integer(1, 999) for n in "abc"}))
    with pytest.raises(SpecificationError, match="a, b: 998,001 combinations, expected at most"):
        searcher = ManyAgents(formulation="grouped", groups=[["a", "b"]])
        Study(wide, Goal(minimize=["cost"]), searcher, budget=budget).run()


def test_distributions_are_of_table_and_network_only() -> None:
    searcher = ManyAgents(formulation="normal")
    searcher.start(SPACE, Objectives(("reward",)), seed=0, capabilities={})
    with pytest.raises(SpecificationError, match="'normal' has no table of probabilities"):
        searcher.distributions()
