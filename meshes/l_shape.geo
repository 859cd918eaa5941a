// The square [-3, 3]^2 without its upper right part [1.5, 3]^2, in triangles.
// gmsh -2 -format msh41 l_shape.geo -o l_shape.msh
h = 0.5;
Point(1) = {-3, -3, 0, h};
Point(2) = {3, -3, 0, h};
Point(3) = {3, 1.5, 0, h};
Point(4) = {1.5, 1.5, 0, h};
Point(5) = {1.5, 3, 0, h};
Point(6) = {-3, 3, 0, h};
Line(1) = {1, 2};
Line(2) = {2, 3};
Line(3) = {3, 4};
Line(4) = {4, 5};
Line(5) = {5, 6};
Line(6) = {6, 1};
Curve Loop(1) = {1, 2, 3, 4, 5, 6};
Plane Surface(1) = {1};
// ddpde reads the cells of physical groups
Physical Surface("domain", 1) = {1};
