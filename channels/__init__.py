"""Differentiable wireless channel operators on Sionna: y = h·x + w with every use accounted for.

Import what you need from the modules (``from channels.flat.awgn import AwgnChannel``); this file imports
nothing, so that ``import channels`` costs nothing. This package never imports ``linksim``.
"""

from channels.runtime.moved import install

install()
