"""What may be rented: regions, whole nodes, clouds, own price lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archwright.errors import SpecificationError, TraceError
from archwright.hardware import device
from archwright.hardware.prices import load_offers, offers
from archwright.serving import FleetEnvironment, fleet_environment
from archwright.serving.fleet_offers import market
from archwright.serving.fleet_specification import FleetSpecification
from archwright.serving.profile import InstanceType

DESIGN = {
    "model": "Llama-3.1-8B", "weights": "bf16", "kv": "bf16", "max_batch": 128, "devices": "all",
}  # fmt: skip


def fleet(folder: Path | None = None, **options: Any) -> FleetEnvironment:
    """A fleet on one device."""
    settings: dict[str, Any] = {
        "rate_per_s": 40.0,
        "limits": {"ttft_p99_s": 1.0, "tpot_mean_s": 0.05},
        "devices": ["H100-SXM"],
        "tensor_parallel": [1, 2],
    }
    return fleet_environment(folder=folder, **(settings | options))


def prices(folder: Path, text: str) -> Path:
    """Write a price list."""
    (folder / "prices.csv").write_text(text)
    return folder


def test_the_catalogue_rents_nodes_and_undated_rows_only_where_asked() -> None:
    """An eighth of a p5.48xlarge is not for rent; marketplaces without a date need their name."""
    found = {o.name: o for o in offers(["H100-SXM"], cloud="aws")}
    clouds = {o.cloud for o in offers()}

    assert found["p5.48xlarge"].accelerators == 8
    assert found["p5.48xlarge"].usd_per_hour == 55.04
    assert clouds == {"aws", "azure", "gcp"}
    assert {o.cloud for o in offers(cloud="lambda")} == {"lambda"}
    spot = offers(["H100-SXM"], cloud="nebius", kinds=["spot"])
    assert spot
    assert all(o.kind == "spot" and o.name.endswith("(spot)") for o in spot)


def test_a_fleet_rents_whole_nodes_and_says_what_is_idle(tmp_path: Path) -> None:
    """One accelerator would do, but the node has three: two stand idle, and are paid for."""
    folder = prices(
        tmp_path, "device,accelerators,usd_per_hour,name,cloud,region\nh100,3,9.0,trio,mine,here\n"
    )
    environment = fleet(folder, prices="prices.csv", rate_per_s=1.0, tensor_parallel=[1])
    plan = environment.plan(DESIGN)
    divided = fleet(
        folder, prices="prices.csv", rate_per_s=1.0, tensor_parallel=[1], pricing="accelerator"
    )

    assert plan.offers == {"trio": 1}
    assert (plan.cloud, plan.region, plan.cost_per_hour) == ("mine", "here", 9.0)
    assert environment.measure(plan)["idle_accelerators"] == 2
    assert "1 × trio from mine here" in environment.describe(DESIGN)
    assert "2 of 3 accelerators stand idle" in environment.panels(DESIGN)[0].note
    assert divided.plan(DESIGN).cost_per_hour == 3.0


def test_an_instance_never_spans_two_nodes(tmp_path: Path) -> None:
    """Nodes of three hold one instance of two each."""
    folder = prices(tmp_path, "device,accelerators,usd_per_hour\nH100-SXM,3,9.0\n")
    environment = fleet(folder, prices="prices.csv", rate_per_s=100.0, tensor_parallel=[2])
    plan = environment.plan(DESIGN)

    assert plan.fleet.counts == {"H100-SXM x2": plan.bill[0][1]}
    assert environment.measure(plan)["idle_accelerators"] == plan.bill[0][1] > 1


def test_a_fleet_stays_inside_one_region(tmp_path: Path) -> None:
    """The cheaper half of each region together would cost less, and is not for rent."""
    folder = prices(
        tmp_path,
        "device,accelerators,usd_per_hour,name,cloud,region\n"
        "H100-SXM,8,20.0,big,mine,east\nH100-SXM,1,9.0,one,mine,east\n"
        "H100-SXM,8,70.0,big,mine,west\nH100-SXM,1,3.0,one,mine,west\n",
    )
    for rate, region, names in ((1.0, "west", {"one"}), (500.0, "east", {"big"})):
        plan = fleet(folder, prices="prices.csv", rate_per_s=rate).plan(DESIGN)
        assert plan.region == region, rate
        assert set(plan.offers) == names
        pinned = fleet(folder, prices="prices.csv", rate_per_s=rate, region="east").plan(DESIGN)
        assert pinned.region == "east"
        assert pinned.cost_per_hour >= plan.cost_per_hour


def test_the_cheapest_clouds_are_compared() -> None:
    """Without a cloud each is planned; the answer is in the cheapest, and up to three are told."""
    environment = fleet(rate_per_s=20.0)
    answer = environment.solved(DESIGN)
    costs = [plan.cost_per_hour for plan in answer.clouds]

    assert len(costs) == 3
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(answer.plan.cost_per_hour)
    for plan in answer.clouds:
        alone = fleet(rate_per_s=20.0, cloud=plan.cloud).plan(DESIGN)
        assert alone.cost_per_hour == pytest.approx(plan.cost_per_hour)
    table = next(p for p in environment.panels(DESIGN) if p.title == "Clouds")
    assert [row[0] for row in table.rows] == [plan.cloud for plan in answer.clouds]


def test_what_is_scarce_is_not_rented_twice(tmp_path: Path) -> None:
    """One cheap node is to be had; the rest comes from the dearer one."""
    folder = prices(
        tmp_path,
        "device,accelerators,usd_per_hour,name,available\nH100-SXM,1,2.0,rare,1\n"
        "H100-SXM,1,3.0,common,\n",
    )
    plan = fleet(folder, prices="prices.csv", rate_per_s=60.0, tensor_parallel=[1]).plan(DESIGN)

    assert plan.offers["rare"] == 1
    assert plan.offers["common"] >= 1


def test_regions_that_lack_nothing_another_has_are_left_out() -> None:
    """Only within one cloud, so that each cloud is still compared."""
    specification = FleetSpecification(devices=("H100-SXM", "L4"))
    made = market(specification, [device("H100-SXM"), device("L4")], Path())
    every = {(o.cloud, o.region) for o in offers(["H100-SXM", "L4"])}

    assert len(made.regions) < len(every)
    assert {r.cloud for r in made.regions} == {cloud for cloud, _ in every}
    for cloud, region in every - {(r.cloud, r.region) for r in made.regions}:
        there = offers(["H100-SXM", "L4"], cloud=cloud, region=region)
        kept = [r for r in made.regions if r.cloud == cloud]
        assert any(
            all(
                any(
                    (o.device, o.accelerators) == (x.device, x.accelerators)
                    and o.usd_per_hour <= x.usd_per_hour
                    for o in r.offers
                )
                for x in there
            )
            for r in kept
        )


def test_the_price_of_an_instance_is_its_part_of_the_cheapest_offer_that_holds_it() -> None:
    """A single accelerator cannot hold two."""
    environment = fleet(cloud="aws")
    one, two = (
        environment.market.price(InstanceType(device=device("H100-SXM"), tensor_parallel=w))
        for w in (1, 2)
    )

    assert one == pytest.approx(6.88)
    assert two == pytest.approx(2 * 55.04 / 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cloud": "lamda"}, "unknown cloud 'lamda' .nearest: 'lambda'"),
        ({"cloud": "aws", "region": "us-east-9"}, "unknown region 'us-east-9'"),
        ({"cloud": "runpod"}, "environment.cloud: 'runpod' rents none of H100-SXM on-demand"),
        ({"tensor_parallel": [16]}, "tensor_parallel: no offer holds 16 .* largest has 8"),
        ({"kinds": ["spto"]}, "kinds: unknown value 'spto' .nearest: 'spot'"),
        ({"pricing": "nodes"}, "pricing: unknown value 'nodes' .nearest: 'node'"),
        ({"utilization": 0.0}, "utilization: 0.0 is below the least"),
    ],
)
def test_what_cannot_be_rented_is_refused(options: dict[str, Any], message: str) -> None:
    """One line, before anything is planned."""
    with pytest.raises(SpecificationError, match=message):
        fleet(**options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("device,accelerators,usd_per_hour\nH100-SXM,8,\n", "usd_per_hour: '', expected a number"),
        ("device,accelerators,usd_per_hour\nH100-SXM,8,0\n", "'0', expected a price above 0"),
        ("device,accelerators,usd_per_hour\nH100-SXM,0,9\n", "accelerators: '0', expected"),
        ("device,accelerators,usd_per_hour\nH100-SXM,2.5,9\n", "'2.5', expected a whole number"),
        ("device,accelerators,usd_per_hour\nH10-SXM,8,9\n", "'H10-SXM', .*H100-SXM"),
        (
            "device,accelerators,usd_per_hour,kind\nH100-SXM,8,9,spott\n",
            "kind: 'spott', expected .*spot",
        ),
        (
            "device,accelerators,usd_per_hour,name\nH100-SXM,8,9,a\nH100-SXM,4,9,a\n",
            "prices.csv:3: name: .*one row an offer and region",
        ),
        ("device,accelerators,usd_per_hour,foo\nH100-SXM,8,9,1\n", "unknown column 'foo'"),
    ],
)
def test_a_broken_price_list_is_named(tmp_path: Path, text: str, message: str) -> None:
    """File, line, column, value and expectation."""
    with pytest.raises(TraceError, match=message):
        load_offers(prices(tmp_path, text) / "prices.csv")
