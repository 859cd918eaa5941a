"""The matrix of the interior penalty, against which its solvers are held."""

from ddpde.flow.diffusion import NeighbourMatrix, stiffness_blocks


class Assembled:
    """M⁻¹K by the sparse matrix, of one form or the other."""

    def __init__(self, space, *, bent):
        rows, columns, blocks = stiffness_blocks(space, space.facets(), bent=bent)
        matrix = NeighbourMatrix(space.comm, space.local_shape, rows, space.global_cells[columns])
        self._space, self._matrix = space, matrix.fill(blocks)

    def apply(self, u):
        x, y = self._matrix.createVecs()
        x.setArray(u.ravel())
        self._matrix.mult(x, y)
        return self._space.divide_by_mass(y.getArray().reshape(u.shape))
