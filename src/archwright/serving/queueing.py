"""Queues in closed form: Erlang C, and the wait in GI/G/c by Kimura."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["erlang_c", "p99_wait_s", "wait"]

Floats = npt.NDArray[np.float64]


def erlang_c(servers: npt.ArrayLike, offered_load: npt.ArrayLike) -> Floats:
    """Return the probability that an arrival waits in M/M/c.

    >>> round(float(erlang_c(2, 1.0)), 6), round(float(erlang_c(100, 90.0)), 5)
    (0.333333, 0.21694)

    Erlang B comes from the regularized upper incomplete gamma function, which is safe for any
    number of servers (whole or not), and C from B.

    Args:
        servers: number of servers c.
        offered_load: arrival rate times service time a; at a ≥ c everyone waits.
    """
    from scipy.special import gammaincc, gammaln

    c, a = np.broadcast_arrays(
        np.asarray(servers, dtype=np.float64), np.asarray(offered_load, dtype=np.float64)
    )
    inside = (a > 0) & (a < c)
    load = np.where(inside, a, 0.5 * c)
    # B = (a^c / c!) / sum_{k<=c} a^k / k!, and that sum is e^a Q(c + 1, a)
    log_term = c * np.log(load) - load - gammaln(c + 1)
    blocking = np.exp(log_term - np.log(gammaincc(c + 1, load)))
    waiting = blocking / (1 - load / c * (1 - blocking))
    return np.asarray(np.where(inside, waiting, np.where(a > 0, 1.0, 0.0)))


def wait(
    servers: npt.ArrayLike,
    service_s: npt.ArrayLike,
    arrival_rate: npt.ArrayLike,
    cv2: npt.ArrayLike = 1.0,
    arrival_cv2: npt.ArrayLike = 1.0,
) -> tuple[Floats, Floats]:
    """Return who waits in GI/G/c and how long: the wait exceeds t with probability C·exp(-t/θ).

    C is Erlang's, θ = (ca² + cs²)/2 / (c·mu - lambda) (Kimura 1986, as the fleet simulator of
    vLLM's semantic router uses it for Poisson arrivals, ca² = 1).

    >>> c, theta = wait(1, 1.0, 0.5)
    >>> float(c), float(theta)  # M/M/1: rho, and 1/(mu - lambda)
    (0.5, 2.0)

    Args:
        servers: number of servers c.
        service_s: mean service time, seconds.
        arrival_rate: arrivals/s.
        cv2: squared coefficient of variation of the service time.
        arrival_cv2: that of the gaps between arrivals, or their index of dispersion; 1 is Poisson.

    Returns:
        C, the probability that an arrival waits, and θ in seconds, inf where the load reaches the
        servers.
    """
    c, s, rate, spread, bursts = np.broadcast_arrays(
        *(
            np.asarray(v, dtype=np.float64)
            for v in (servers, service_s, arrival_rate, cv2, arrival_cv2)
        )
    )
    spare = c / s - rate
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = (bursts + spread) / 2 / spare
    return erlang_c(c, rate * s), np.asarray(np.where(spare <= 0, np.inf, theta))


def p99_wait_s(
    servers: npt.ArrayLike,
    service_s: npt.ArrayLike,
    arrival_rate: npt.ArrayLike,
    cv2: npt.ArrayLike = 1.0,
    arrival_cv2: npt.ArrayLike = 1.0,
    *,
    quantile: float = 0.99,
) -> Floats:
    """Return a quantile of :func:`wait`, by default P99, in seconds.

    0 where fewer than 1 - q wait at all, inf where the load reaches the servers.

    Args:
        servers, service_s, arrival_rate, cv2, arrival_cv2: as for :func:`wait`.
        quantile: the quantile.
    """
    waits, theta = wait(servers, service_s, arrival_rate, cv2, arrival_cv2)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(waits / (1 - quantile)) * theta
    late = np.isinf(theta)
    return np.asarray(np.where(late, np.inf, np.where(waits <= 1 - quantile, 0.0, found)))
