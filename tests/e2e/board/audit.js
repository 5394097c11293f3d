// What every page of the board has to be. Returns what is wrong, in words.
const faults = [];
const page = document.documentElement;
if (page.scrollWidth > page.clientWidth) {
  const wide = [...document.body.querySelectorAll("*")].filter((it) => it.getBoundingClientRect().right > page.clientWidth + 1);
  faults.push(`scrolls sideways: ${wide.slice(0, 3).map((it) => `${it.tagName}.${it.className}`).join(", ")}`);
}

// Structure: one h1, no level left out, a name for each control, a caption for each table.
const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((it) => Number(it.tagName[1]));
if (levels.filter((it) => it === 1).length !== 1) faults.push("has not one h1");
levels.forEach((level, at) => { if (at > 0 && level > levels[at - 1] + 1) faults.push(`leaves out a level of headings before an h${level}`); });
for (const it of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
  if (!it.labels?.length && !it.getAttribute("aria-label")) faults.push(`a control has no name: ${it.outerHTML}`);
}
for (const it of document.querySelectorAll("a, button")) {
  if (!it.textContent.trim() && !it.getAttribute("aria-label")) faults.push(`a link or button has no name: ${it.outerHTML}`);
}
for (const it of document.querySelectorAll("table")) if (!it.caption) faults.push("a table has no caption");
for (const it of document.querySelectorAll("svg")) {
  if (!it.getAttribute("aria-label") && it.getAttribute("aria-hidden") !== "true") faults.push("a drawing has no name");
}
const ids = [...document.querySelectorAll("[id]")].map((it) => it.id);
ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => faults.push(`the id ${id} comes twice`));
if (document.documentElement.lang !== "en") faults.push("has no language");

// Contrast (WCAG 2.2, 1.4.3): 4.5, or 3 for large text.
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function rgba(color) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}
const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
function ground(element) {
  const layers = [];
  for (let it = element; it; it = it.parentElement) layers.push(rgba(getComputedStyle(it).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
}
function luminance([r, g, b]) {
  const linear = [r, g, b].map((it) => { const v = it / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || ["SCRIPT", "STYLE"].includes(element.tagName) || element.closest(".off, .hidden, [aria-disabled]")) continue;
  const style = getComputedStyle(element);
  if (style.visibility === "hidden" || !element.getClientRects().length) continue;
  const back = ground(element);
  const [one, other] = [luminance(over(rgba(style.color), back)), luminance(back)];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  const size = parseFloat(style.fontSize);
  const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  if (ratio < least) faults.push(`contrast ${ratio.toFixed(2)} of ${JSON.stringify(text.slice(0, 40))}`);
}
return [...new Set(faults)];
