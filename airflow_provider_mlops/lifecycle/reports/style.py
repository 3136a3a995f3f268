"""The style of reports: system fonts, one accent color, and a dark color scheme."""

from __future__ import annotations

STYLE = """
:root{--paper:#f7f8fa;--sheet:#fff;--ink:#1b2330;--faint:#66707f;--line:#e2e6ec;--accent:#2f6fdd;--stripe:#f4f6f9;
--good:#17803d;--bad:#c42b2b;--doubtful:#a86400;--neutral:#2f6fdd}
@media(prefers-color-scheme:dark){:root{--paper:#12161c;--sheet:#1a2029;--ink:#e6eaf0;--faint:#95a0b0;--line:#2c3542;
--accent:#77a7ff;--stripe:#1f2732;--good:#4cc27a;--bad:#ff7b72;--doubtful:#e3ae4d;--neutral:#77a7ff}
figure img{filter:invert(1) hue-rotate(180deg)}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1080px;margin:0 auto;padding:32px 20px 48px}
h1{font-size:1.8rem;line-height:1.2;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:40px 0 12px;padding-bottom:6px;border-bottom:1px solid var(--line);scroll-margin-top:12px}
.subtitle{color:var(--faint);margin:6px 0 0;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:6px 8px;margin:18px 0 0}
nav a{color:var(--accent);text-decoration:none;font-size:.9rem;padding:3px 10px;border:1px solid var(--line);
border-radius:99px;background:var(--sheet)}
nav a:hover{border-color:var(--accent)}
a{color:var(--accent)}
.verdict{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline;margin:22px 0 0;padding:14px 18px;
background:var(--sheet);border:1px solid var(--line);border-left:6px solid var(--tone);border-radius:8px}
.verdict strong{color:var(--tone);text-transform:capitalize;font-size:1.1rem}
.good{--tone:var(--good)}.bad{--tone:var(--bad)}.doubtful{--tone:var(--doubtful)}.neutral{--tone:var(--neutral)}
.text{max-width:72ch;overflow-wrap:anywhere}
.text table{width:auto}
code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
background:var(--stripe);padding:1px 4px;border-radius:4px}
pre{background:var(--stripe);padding:12px;border-radius:8px;overflow-x:auto}
.wide{overflow-x:auto;margin:14px 0;background:var(--sheet);border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.92rem}
caption{text-align:left;padding:10px 12px;color:var(--faint);font-size:.9rem}
th,td{text-align:left;padding:7px 12px;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0;color:var(--faint);font-weight:600;white-space:nowrap;background:var(--stripe)}
tbody tr:nth-child(even){background:var(--stripe)}
td{overflow-wrap:anywhere;min-width:13ch}
th.number{text-align:right}
td.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.empty{color:var(--faint);text-align:center}
figure{margin:16px 0;padding:14px;background:var(--sheet);border:1px solid var(--line);border-radius:8px}
figure img{display:block;max-width:100%;height:auto;margin:0 auto}
figcaption{color:var(--faint);font-size:.9rem;margin-top:8px;text-align:center}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,240px),1fr));gap:14px;margin:14px 0}
.card{background:var(--sheet);border:1px solid var(--line);border-radius:8px;padding:14px;min-width:0}
.card h3{font-size:1rem;margin:0;overflow-wrap:anywhere}
.card p{margin:0 0 8px;color:var(--faint);font-size:.85rem;overflow-wrap:anywhere}
.card svg{display:block;width:100%;height:60px;fill:var(--accent);border-bottom:1px solid var(--line)}
.card rect:hover{opacity:.65}
.ends{display:flex;justify-content:space-between;color:var(--faint);font-size:.75rem;font-variant-numeric:tabular-nums}
.card dl{display:grid;grid-template-columns:auto minmax(0,1fr);gap:1px 10px;margin:10px 0 0;font-size:.85rem}
.card dt{color:var(--faint)}
.card dd{margin:0;text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.badge{display:inline-block;margin-left:6px;padding:0 7px;border-radius:99px;font-size:.72rem;font-weight:600;
color:var(--doubtful);border:1px solid var(--doubtful);vertical-align:2px}
.bars{display:grid;grid-template-columns:minmax(6ch,auto) minmax(0,1fr) auto;gap:5px 12px;align-items:center;
font-size:.9rem}
.bars .name{overflow-wrap:anywhere;max-width:32ch}
.bars .track{background:var(--stripe);border-radius:4px;height:14px}
.bars i{display:block;height:100%;border-radius:4px;background:var(--accent);min-width:1px}
.bars i.minus{background:var(--doubtful)}
.bars b{font-weight:500;text-align:right;font-variant-numeric:tabular-nums}
.plot{display:grid;grid-template-columns:auto minmax(0,1fr);gap:4px 8px}
.plot .axis{display:flex;flex-direction:column;justify-content:space-between;text-align:right}
.plot .axis,.plot .ends,.legend{font-size:.8rem;color:var(--faint);font-variant-numeric:tabular-nums}
.plot svg{display:block;width:100%;height:180px;background:var(--stripe);border-radius:4px;overflow:visible}
.plot .ends{grid-column:2;font-size:.8rem}
.plot polyline{fill:none;stroke:var(--line-color);stroke-width:2;vector-effect:non-scaling-stroke}
.plot polygon{fill:var(--line-color);opacity:.2}
.plot .limit{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:6 4;vector-effect:non-scaling-stroke}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;margin-top:8px}
.legend i{display:inline-block;width:14px;height:0;border-top:3px solid var(--line-color);margin-right:6px;
vertical-align:middle}
.legend i.limit{border-top:2px dashed var(--ink)}
.c0{--line-color:var(--accent)}.c1{--line-color:var(--doubtful)}.c2{--line-color:var(--good)}
.c3{--line-color:var(--bad)}.c4{--line-color:#8a63d2}.c5{--line-color:var(--faint)}
footer{margin-top:48px;color:var(--faint);font-size:.82rem}
@media print{body{background:#fff}nav{display:none}.wide,figure,.card{break-inside:avoid}}
"""
