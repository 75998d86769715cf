"""Search methods, one file each; libraries are imported when a search starts."""

from archwright.search.searchers.annealing import Annealing
from archwright.search.searchers.ant_colony import AntColony
from archwright.search.searchers.cmaes import CMAES
from archwright.search.searchers.exhaustive import Exhaustive
from archwright.search.searchers.genetic import Genetic
from archwright.search.searchers.genetic_gray import GeneticGray
from archwright.search.searchers.gp import GaussianProcess
from archwright.search.searchers.hyperband import Hyperband
from archwright.search.searchers.local import LocalSearch
from archwright.search.searchers.many_agents import ManyAgents
from archwright.search.searchers.nsga2 import NSGA2
from archwright.search.searchers.nsga3 import NSGA3
from archwright.search.searchers.portfolio import Portfolio
from archwright.search.searchers.ppo import PPO
from archwright.search.searchers.random import RandomSearch
from archwright.search.searchers.regularized_evolution import RegularizedEvolution
from archwright.search.searchers.successive_halving import SuccessiveHalving
from archwright.search.searchers.tpe import TPE

__all__ = [
    "CMAES",
    "NSGA2",
    "NSGA3",
    "PPO",
    "TPE",
    "Annealing",
    "AntColony",
    "Exhaustive",
    "GaussianProcess",
    "Genetic",
    "GeneticGray",
    "Hyperband",
    "LocalSearch",
    "ManyAgents",
    "Portfolio",
    "RandomSearch",
    "RegularizedEvolution",
    "SuccessiveHalving",
]
