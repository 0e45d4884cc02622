// What a page gains with scripts: tables that filter and sort, tooltips at once, series that switch off, figures that zoom.
(() => {
  const number = (cell) => { const n = parseFloat(cell.dataset.value ?? cell.textContent.replace(/[,–]/g, "")); return isNaN(n) ? -Infinity : n; };
  document.querySelectorAll("table.search").forEach((table) => {
    const body = table.tBodies[0], rows = [...body.rows], box = table.closest(".scroll");
    const tools = document.createElement("p"), field = document.createElement("input"), count = document.createElement("span");
    field.type = "search"; field.placeholder = "filter: rs12, chr1, effect > 0.5"; field.setAttribute("aria-label", "Filter " + table.caption.textContent);
    count.className = "soft"; count.setAttribute("aria-live", "polite"); tools.className = "tools"; tools.append(field, count); box.before(tools);
    const names = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim().toLowerCase());
    const test = (words) => {
      const rule = words.match(/^(.+?)\s*(<=|>=|<|>|=)\s*(-?[\d.]+)$/), at = rule ? names.indexOf(rule[1]) : -1;
      if (at < 0) return (row) => row.textContent.toLowerCase().includes(words);
      const limit = +rule[3], compare = { "<": (a) => a < limit, ">": (a) => a > limit, "<=": (a) => a <= limit, ">=": (a) => a >= limit, "=": (a) => a === limit }[rule[2]];
      return (row) => compare(number(row.cells[at]));
    };
    const filter = () => {
      const tests = field.value.toLowerCase().split(",").map((part) => part.trim()).filter(Boolean).map(test);
      let shown = 0;
      rows.forEach((row) => { row.hidden = !tests.every((one) => one(row)); shown += !row.hidden; });
      count.textContent = ` ${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    };
    field.addEventListener("input", filter); filter();
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      const button = document.createElement("button"); button.type = "button"; button.className = "sort"; button.append(...head.childNodes); head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "descending", numeric = head.classList.contains("number");
        [...head.parentNode.cells].forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "ascending" : "descending");
        const order = (a, b) => numeric ? number(b.cells[at]) - number(a.cells[at]) : b.cells[at].textContent.localeCompare(a.cells[at].textContent, "en", { numeric: true });
        rows.sort(order); if (down) rows.reverse(); body.append(...rows);
      });
    });
  });
  const tip = document.createElement("div"); tip.className = "tip"; tip.hidden = true; document.body.append(tip);
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest?.("figure svg path"), words = mark?.dataset.tip ?? mark?.querySelector("title")?.textContent;
    tip.hidden = !words;
    if (!words) return;
    if (mark.dataset.tip === undefined) { mark.dataset.tip = words; mark.querySelector("title").remove(); }
    tip.textContent = words;
    tip.style.left = Math.min(event.pageX + 12, window.scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = event.pageY + 14 + "px";
  });
  document.querySelectorAll("figure [data-legend]").forEach((entry) => {
    entry.setAttribute("role", "button"); entry.setAttribute("tabindex", "0"); entry.setAttribute("aria-pressed", "true");
    const toggle = () => {
      const on = entry.getAttribute("aria-pressed") !== "true"; entry.setAttribute("aria-pressed", on); entry.style.opacity = on ? "" : ".35";
      entry.closest("svg").querySelectorAll("[data-series]").forEach((group) => { if (group.dataset.series === entry.dataset.legend) group.style.display = on ? "" : "none"; });
    };
    entry.addEventListener("click", toggle);
    entry.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); } });
  });
  const dialog = document.createElement("dialog"); dialog.className = "zoom"; document.body.append(dialog);
  document.querySelectorAll("figure").forEach((figure) => {
    const button = document.createElement("button"); button.type = "button"; button.className = "enlarge"; button.textContent = "enlarge";
    figure.querySelector("figcaption").append(" · ", button);
    button.addEventListener("click", () => {
      const large = figure.querySelector("svg").cloneNode(true), close = document.createElement("button");
      close.textContent = "close"; close.addEventListener("click", () => dialog.close());
      large.style.maxWidth = "none"; dialog.replaceChildren(close, large); dialog.showModal();
      let box = large.getAttribute("viewBox").split(" ").map(Number); const whole = [...box]; let from = null;
      const show = () => large.setAttribute("viewBox", box.join(" "));
      large.addEventListener("wheel", (event) => {
        event.preventDefault();
        const area = large.getBoundingClientRect(), by = event.deltaY < 0 ? 0.8 : 1.25;
        const u = (event.clientX - area.left) / area.width, v = (event.clientY - area.top) / area.height, w = Math.min(box[2] * by, whole[2]), h = w * whole[3] / whole[2];
        box = [box[0] + u * (box[2] - w), box[1] + v * (box[3] - h), w, h]; if (w === whole[2]) box = [...whole]; show();
      }, { passive: false });
      large.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY, box[0], box[1]]; large.setPointerCapture(event.pointerId); });
      large.addEventListener("pointermove", (event) => {
        if (!from) return;
        const scale = box[2] / large.getBoundingClientRect().width; box[0] = from[2] - (event.clientX - from[0]) * scale; box[1] = from[3] - (event.clientY - from[1]) * scale; show();
      });
      large.addEventListener("pointerup", () => { from = null; });
    });
  });
})();
