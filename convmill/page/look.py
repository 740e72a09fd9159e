"""How pages look: the colours of our pictures, one column, readable from a phone to paper."""

from __future__ import annotations

from convmill.view.style import DARK as NIGHT
from convmill.view.style import LIGHT

PHONE = "screen and (max-width: 520px)"
DARK = "(prefers-color-scheme: dark)"
DARK_SCREEN, DARK_PHONE = f"screen and {DARK}", f"{PHONE} and {DARK}"  # paper is light

STYLE = f"""
:root {{
  color-scheme: light dark;
  --ground: {LIGHT.ground}; --ink: {LIGHT.ink}; --faint: {LIGHT.faint}; --accent: {LIGHT.first}; }}
@media {DARK_SCREEN} {{ :root {{
  --ground: {NIGHT.ground}; --ink: {NIGHT.ink}; --faint: {NIGHT.faint};
  --accent: {NIGHT.first}; }} }}
* {{ box-sizing: border-box; }}
html {{ -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }}
body {{
  margin: 0; background: var(--ground); color: var(--ink); overflow-wrap: anywhere;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif; }}
main {{ max-width: 64rem; margin: 0 auto; padding: 1rem; }}
h1, p, figure, dl {{ max-width: 44rem; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0 1rem; }}
h2 {{ font-size: 1.2rem; line-height: 1.3; margin: 2.2rem 0 0.6rem; }}
p {{ margin: 0.6rem 0; }}
.question {{ font-size: 1.1rem; font-style: italic; }}
.answer {{
  font-size: 1.15rem; padding: 0.2rem 0 0.2rem 0.9rem; border-left: 4px solid var(--accent); }}
.answer {{ white-space: pre-line; }}
.answer.long {{ font-size: 1rem; }}
figure {{ margin: 1rem 0 1.6rem; }}
figcaption, .legend, caption {{ font-size: 0.9rem; line-height: 1.45; }}
img {{ display: none; max-width: 100%; height: auto; }}
.wide.light {{ display: block; }}
.scrolls {{ overflow-x: auto; }}
@media {DARK_SCREEN} {{
  .wide.light {{ display: none; }}
  .wide.dark {{ display: block; }} }}
table {{
  min-width: min(100%, 22rem); border-collapse: separate; border-spacing: 0; font-size: 0.9rem;
  margin: 0.6rem 0; }}
caption {{
  text-align: left; padding-bottom: 0.3rem; position: sticky; left: 0;
  max-width: calc(100vw - 2rem); }}
th, td {{ padding: 0.25rem 0.7rem 0.25rem 0; text-align: left; vertical-align: top;
  overflow-wrap: normal; border-bottom: 1px solid var(--faint); }}
.number {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
thead th, thead .number {{ vertical-align: bottom; white-space: pre-line; }}
tbody th {{ font-weight: normal; min-width: 11rem; }}
tbody th, thead th:first-child {{ position: sticky; left: 0; background: var(--ground); }}
td:not(.number) {{ min-width: 8rem; }}
.unbroken {{ white-space: nowrap; }}
dl {{ margin: 0; }}
dl div {{
  display: grid; grid-template-columns: minmax(7rem, 11rem) 1fr; gap: 0 1rem; padding: 0.25rem 0;
  border-bottom: 1px solid var(--faint); }}
dd {{ margin: 0; }}
pre {{ margin: 0; white-space: pre-wrap; }}
code {{ font: 0.85rem/1.4 ui-monospace, Consolas, "Liberation Mono", monospace; }}
ul {{ padding-left: 1.2rem; }}
a {{ color: var(--accent); }}
:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
@media {PHONE} {{
  .one-width img {{ max-width: none; width: 40rem; }}
  .two-widths .wide {{ display: none; }}
  .two-widths .narrow.light {{ display: block; }}
  tbody th {{ min-width: 7rem; }}
  dl div {{ grid-template-columns: 1fr; }}
  dt {{ font-size: 0.85rem; opacity: 0.8; }} }}
@media {DARK_PHONE} {{
  .two-widths .narrow.light {{ display: none; }}
  .two-widths .narrow.dark {{ display: block; }} }}
@media print {{
  @page {{ margin: 1.6cm; }}
  body {{ font-size: 10pt; }}
  main {{ max-width: none; padding: 0; }}
  h1, p, figure, dl {{ max-width: none; }}
  .scrolls {{ overflow: visible; }}
  table {{ font-size: 8pt; }}
  .number, tbody th, td:not(.number) {{ white-space: normal; min-width: 0; }}
  caption, tbody th, thead th:first-child {{ position: static; max-width: none; }}
  img {{ max-height: 23cm; width: auto; }}
  figure, tr, dl div, .answer {{ break-inside: avoid; }}
  h2, caption {{ break-after: avoid; }} }}
"""
