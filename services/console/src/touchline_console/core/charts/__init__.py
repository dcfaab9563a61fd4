"""Charts as data: functions from figures to the options of Apache ECharts.

Options hold no functions and no colours of their own. "$accent" is a colour token of the design system, "$accent/0.15"
the same with an alpha; "@percent" a format of ``console.js``. Text from outside goes through ``plain``, so that it is
never taken for either.
"""
