"""Saves models as MXNet's users have them, and what MXNet predicts with each; run where MXNet is."""

import mxnet as mx
import numpy as np

mx.random.seed(1)
rows = np.random.RandomState(0).normal(size=(7, 4)).astype(np.float32)
np.save("rows.npy", rows)

network = mx.gluon.nn.HybridSequential()
network.add(mx.gluon.nn.Dense(8, activation="relu"), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dense(4))
network.initialize(mx.init.Xavier())
network.hybridize()
np.save("gluon.npy", mx.nd.softmax(network(mx.nd.array(rows))).asnumpy())
network.export("gluon")


def save_module(name, symbol, label):
    """Save a model of the older interface, which ends in a layer that needs the truth."""
    module = mx.mod.Module(symbol, label_names=[label])
    module.bind(
        [("data", rows.shape)], [(label, (len(rows),) if name == "module" else (len(rows), 1))], for_training=False
    )
    module.init_params(mx.init.Xavier())
    module.save_checkpoint(name, 1)
    given = mx.io.NDArrayIter(rows, batch_size=len(rows))
    np.save(f"{name}.npy", module.predict(given).asnumpy().reshape(len(rows), -1).squeeze())


hidden = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=5, name="one"), act_type="relu")
last = mx.sym.FullyConnected(hidden, num_hidden=4, name="two")
save_module("module", mx.sym.SoftmaxOutput(last, name="softmax"), "softmax_label")
value = mx.sym.FullyConnected(hidden, num_hidden=1, name="two")
save_module("values", mx.sym.LinearRegressionOutput(value, name="out"), "out_label")
