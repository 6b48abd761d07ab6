"""Functions that Triton lacks in its compiler or its interpreter, written in what it has in both, to a few last places.

Rational approximations near the places where the plain formulas cancel: of tanh and log1p those of Cephes (Moshier),
of asin that of fdlibm (Sun Microsystems).
"""

ASIN = """\
def asin_(x):  # of |x| <= 1/2
    z = x * x
    p = 0.16666666666666666 + z * (-0.3255658186224009 + z * (0.20121253213486293 + z * (-0.04005553450067941
        + z * (0.0007915349942898145 + z * 3.479331075960212e-05))))
    q = 1.0 + z * (-2.403394911734414 + z * (2.0209457602335057 + z * (-0.6882839716054533
        + z * 0.07703815055590194)))
    return x + x * (z * p / q)"""

ACOS = """\
def acos_(x):
    size = tl.abs(x)
    near = 2.0 * asin_(tl.sqrt(0.5 * (1.0 - size)))
    far = tl.where(x < 0.0, 3.141592653589793 - near, near)
    return tl.where(size < 0.5, 1.5707963267948966 - asin_(x), far)"""

TANH = """\
def tanh_(x):
    z = x * x
    p = -1614.6876844170845 + z * (-99.28772310019185 + z * -0.9643991794250523)
    q = 4844.063053251255 + z * (2235.4883906010045 + z * (112.81167849163293 + z))
    size = tl.abs(x)
    far = 1.0 - 2.0 / (tl.exp(2.0 * size) + 1.0)
    return tl.where(size < 0.625, x + x * (z * p / q), tl.where(x < 0.0, -far, far))"""

LOG1P = """\
def log1p_(x):
    z = x * x
    p = 20.039553499201283 + x * (57.112963590585535 + x * (60.949667980987786 + x * (29.911919328553072
        + x * (6.578732594206104 + x * (0.49854102823193376 + x * 4.527000086244520e-05)))))
    q = 60.118660497603844 + x * (216.42788614495947 + x * (309.0987222531206 + x * (221.76239823732857
        + x * (83.04756596796722 + x * (15.062909083469192 + x)))))
    near = (x > -0.2928932188134524) & (x < 0.4142135623730950)
    return tl.where(near, x + (x * (z * p / q) - 0.5 * z), tl.log(1.0 + x))"""

ATANH = """\
def atanh_(x):
    size = tl.abs(x)
    value = 0.5 * log1p_(2.0 * size / (1.0 - size))
    return tl.where(x < 0.0, -value, value)"""

SOFTPLUS = """\
def softplus_(x):
    return tl.where(x < 0.0, 0.0, x) + log1p_(tl.exp(-tl.abs(x)))"""

HELPERS = {"asin_": ASIN, "log1p_": LOG1P}  # what the functions of rows call
