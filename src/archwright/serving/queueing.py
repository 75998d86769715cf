"""Queues in closed form: Erlang C, and the waiting-time quantile of M/G/c by Kimura."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["erlang_c", "p99_wait_s"]

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


def p99_wait_s(
    servers: npt.ArrayLike,
    service_s: npt.ArrayLike,
    arrival_rate: npt.ArrayLike,
    cv2: npt.ArrayLike = 1.0,
    *,
    quantile: float = 0.99,
) -> Floats:
    """Return a quantile of the wait in M/G/c, by default P99, in seconds.

    ln(C / (1 - q)) · (1 + cv²)/2 / (c·mu - lambda): 0 where fewer than 1 - q wait at all, inf
    where the load reaches the servers (Kimura 1986, as the fleet simulator of vLLM's semantic
    router uses it).

    Args:
        servers: number of servers c.
        service_s: mean service time, seconds.
        arrival_rate: arrivals/s.
        cv2: squared coefficient of variation of the service time.
        quantile: the quantile.
    """
    c, s, rate, spread = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (servers, service_s, arrival_rate, cv2))
    )
    waits = erlang_c(c, rate * s)
    spare = c / s - rate
    with np.errstate(divide="ignore", invalid="ignore"):
        wait = np.log(waits / (1 - quantile)) * (1 + spread) / 2 / spare
    return np.asarray(np.where(spare <= 0, np.inf, np.where(waits <= 1 - quantile, 0.0, wait)))
