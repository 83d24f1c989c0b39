"""What can be measured of how a page looks."""

# Texts, and the edges of fields, with the ratio of their contrast: WCAG 2.2, 1.4.3 and 1.4.11.
CONTRASTS = """(() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = parse(color).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parse(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility() || element.closest("svg, noscript")) continue;
    const style = getComputedStyle(element);
    const note = (kind, color, behind) =>
      found.push([kind, element.id || element.textContent.slice(0, 30), ratio(color, behind)]);
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (own) note("text", style.color, ground(element));
    const before = getComputedStyle(element, "::before");
    if (/\\w/.test(before.content) && before.content !== "none") {
      note("text", before.color, ground(element));
    }
    if (element.matches("input")) note("edge", style.borderColor, ground(element.parentElement));
    if (element.matches(".wave i, .legend i")) note("edge", style.backgroundColor,
      ground(element.parentElement));
  }
  return found;
})()"""

# Where the focus is, whether it can be seen that it is there, and whether anything hides it.
FOCUS = """(() => {
  const element = document.activeElement;
  const { x, y, width, height } = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const top = document.elementFromPoint(x + width / 2, y + height / 2);
  return {
    name: element.id || element.textContent.trim(),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    hidden: !(top && (element.contains(top) || top.contains(element))),
  };
})()"""

# What does not fit into the width of the screen, or of its panel.
TOO_WIDE = """[...document.body.querySelectorAll("*")]
  .filter((element) => {
    const panel = element.parentElement.closest("article");
    const room = panel
      ? panel.getBoundingClientRect().right - parseFloat(getComputedStyle(panel).paddingRight)
      : innerWidth;
    return element.getBoundingClientRect().right > room + 0.5;
  })
  .filter((element) => !element.closest("svg")).map((element) => element.outerHTML.slice(0, 80))
  .concat(document.documentElement.scrollWidth > innerWidth ? ["the page"] : [])"""
