"""One training step of any stage: one forward, the discriminators' step, the generator's step.

A stage is which networks train and which terms of the loss have weight (`Stage`). The order is the official code's: the
discriminator player steps on detached outputs, then the generator player steps against the *updated* discriminators.
`jax.vjp` keeps the pullback of the one forward, so nothing is computed twice.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from davs_jax.errors import ConfigError
from davs_jax.parallel import sharding
from davs_jax.training.networks import Array, Batch, Networks, Tree
from davs_jax.training.stage import Stage
from davs_jax.training.state import DavsState, abstract_state
from davs_jax.training.terms import full_name

Metrics = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """(state, batch) → (state, metrics); pure. Metrics are float32 scalars, terms unweighted.

    With `config.accumulate` = k the batch is read in k parts. The discriminators step on the mean gradient of all
    parts, and only then the generator player, on the mean gradient against the updated discriminators: the published
    order, at the price of a second forward where there are adversaries. Contrastive losses and batch norm see one part
    at a time; running statistics move once per part.

    Attributes:
      mesh: over whose axis `fsdp` parameters may be divided; None is one device.
    """

    stage: Stage
    mesh: Mesh | None = None

    def __call__(self, state: DavsState, batch: Batch) -> tuple[DavsState, Metrics]:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(self.stage.seed), state.step), 3)
        step = self._whole_batch if self.stage.accumulate == 1 else self._batch_in_parts
        after, metrics = step(state, batch, keys)
        decay, trained = self.stage.ema_decay, {name: after.params[name] for name in state.ema}
        # Not optax.incremental_update: its order of the sum rounds differently, and a resumed run would change.
        ema = jax.tree.map(lambda average, new: decay * average + (1 - decay) * new, state.ema, trained)
        return after.replace(step=state.step + 1, ema=ema), metrics

    def _whole_batch(self, state: DavsState, batch: Batch, keys: Array) -> tuple[DavsState, Metrics]:
        """Both players' steps; one forward serves both."""
        metrics: Metrics = {}
        outputs, pullback, stats = self.forward(state.params, state.batch_stats, batch, keys[0])
        if self.stage.adversaries:
            gradients, found, stats = self.discriminator_gradients(state.params, stats, outputs, batch, keys[1])
            state, norms = self.update("discriminator", state, gradients)
            metrics |= found | norms
        cotangent, found, stats = self.output_gradients(state.params, stats, outputs, batch, keys[2])
        (gradients,) = pullback(cotangent)
        state, norms = self.update("generator", state, gradients)
        return state.replace(batch_stats=stats), metrics | found | norms

    def _batch_in_parts(self, state: DavsState, batch: Batch, keys: Array) -> tuple[DavsState, Metrics]:
        """The same with gradients and metrics averaged over the parts; each player has its own forward."""

        def discriminators(batch: Batch, stats: Tree, keys: Array):
            outputs, _, _ = self.forward(state.params, stats, batch, keys[0])  # its statistics move in `generator`
            return self.discriminator_gradients(state.params, stats, outputs, batch, keys[1])

        def generator(batch: Batch, stats: Tree, keys: Array):
            outputs, pullback, stats = self.forward(state.params, stats, batch, keys[0])
            cotangent, found, stats = self.output_gradients(state.params, stats, outputs, batch, keys[2])
            return *pullback(cotangent), found, stats

        metrics: Metrics = {}
        players = {"discriminator": discriminators} if self.stage.adversaries else {}
        for player, function in (players | {"generator": generator}).items():
            gradients, found, stats = _mean_over_parts(self.stage.accumulate, function, batch, state.batch_stats, keys)
            state, norms = self.update(player, state.replace(batch_stats=stats), gradients)
            metrics |= found | norms
        return state, metrics

    def forward(self, params: Tree, stats: Tree, batch: Batch, key: Array) -> tuple[Tree, Callable, Tree]:
        """The outputs, their pullback to the trained networks, and the batch statistics after the forward."""
        whole = sharding.gathered(params, self.mesh)

        def run(trained: Tree):
            networks = Networks(self.stage, whole | trained, stats, self.stage.trained, key)
            return self.stage.system.forward(networks, batch), networks.batch_stats

        return jax.vjp(run, {name: whole[name] for name in self.stage.trained}, has_aux=True)

    def discriminator_gradients(self, params: Tree, stats: Tree, outputs: Tree, batch: Batch, key: Array):
        """Gradients of the discriminator player's loss on the detached outputs, its metrics, and the statistics."""

        def loss(adversaries: Tree):
            networks = Networks(self.stage, adversaries, stats, self.stage.adversaries, key)
            terms, metrics = self.stage.system.discriminator_losses(networks, jax.lax.stop_gradient(outputs), batch)
            metrics |= {f"loss/discriminator/{full_name(name)}": value for name, value in terms.items()}
            return sum(terms.values()), (metrics, networks.batch_stats)

        gradients, (metrics, stats) = jax.grad(loss, has_aux=True)(self._adversaries(params))
        return gradients, metrics, stats

    def output_gradients(self, params: Tree, stats: Tree, outputs: Tree, batch: Batch, key: Array):
        """Gradients of the generator player's loss at the outputs, its metrics, and the statistics."""
        adversaries = self._adversaries(params)

        def loss(outputs: Tree):
            networks = Networks(self.stage, adversaries, stats, self.stage.adversaries, key)
            terms, metrics = self.stage.system.generator_losses(networks, outputs, batch)
            if lacking := self.stage.weights.keys() - terms.keys():
                names = ", ".join(full_name(name) for name in sorted(lacking))
                raise ConfigError(
                    f"generator_losses returned no {names}, which config.loss weighs",
                    "every active term must be in its first dictionary",
                )
            total = sum(self.stage.weights[name] * value for name, value in terms.items())
            metrics |= {f"loss/{full_name(name)}": value for name, value in terms.items()} | {"loss/total": total}
            return total, (metrics, networks.batch_stats)

        gradients, (metrics, stats) = jax.grad(loss, has_aux=True)(outputs)
        return gradients, metrics, stats

    def update(self, player: str, state: DavsState, gradients: Tree) -> tuple[DavsState, Metrics]:
        """The state after one player's optimizer step, and the gradient norm of each of its networks."""
        gradients = sharding.divided(gradients, self.mesh)
        norms = {f"gradient_norm/{name}": optax.tree.norm(gradient) for name, gradient in gradients.items()}
        params = {name: state.params[name] for name in gradients}
        updates, opt = self.stage.optimizers[player].update(gradients, state.opt[player], params)
        params = state.params | optax.apply_updates(params, updates)
        return state.replace(params=params, opt=state.opt | {player: opt}), norms

    def _adversaries(self, params: Tree) -> Tree:
        return sharding.gathered({name: params[name] for name in self.stage.adversaries}, self.mesh)


def _mean_over_parts(count: int, function: Callable, batch: Batch, stats: Tree, keys: Array):
    """Gradients and metrics of `function`, averaged over the parts of a batch, and the statistics after the last part.

    Part i holds rows i, i + count, …: so every device has its share of every part.
    """
    parts = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch)
    found = jax.eval_shape(function, jax.tree.map(lambda x: x[0], parts), stats, keys)[:2]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), found)

    def add(carry, part):
        (sums, stats), (number, batch) = carry, part
        own_keys = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
        *found, stats = function(batch, stats, own_keys)
        return (jax.tree.map(jnp.add, sums, tuple(found)), stats), None

    (sums, stats), _ = jax.lax.scan(add, (zeros, stats), (jnp.arange(count), parts))
    return *jax.tree.map(lambda total: total / count, sums), stats


def make_train_step(stage: Stage, mesh: Mesh):
    """The stage's one jitted step on this mesh: (state, batch) → (state, metrics); the state is donated."""
    state = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(stage, mesh))
    batch, step = dict.fromkeys(stage.batch, sharding.batch_sharding(mesh)), TrainStep(stage, mesh)

    def run(state: DavsState, batch: Batch) -> tuple[DavsState, Metrics]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # which models.convolution asks for
            return step(state, batch)

    return jax.jit(
        run,
        in_shardings=(state, batch),
        out_shardings=(state, sharding.replicated(mesh)),
        donate_argnums=0,
    )
