(function () {
  "use strict";
  var tip = document.getElementById("tip"), shown = null;
  var data = JSON.parse(document.getElementById("data").textContent);
  document.querySelectorAll(".shape > title").forEach(function (title) {
    var shape = title.parentNode;
    shape.setAttribute("aria-label", title.textContent);
    title.remove();
  });
  function time(us) { return us < 10000 ? (us / 1000).toFixed(2) + " ms" : us < 1e6 ? Math.round(us / 1000) + " ms" : (us / 1e6).toFixed(3) + " s"; }
  function numbers(row, index) {
    var series = data.series[Number(row.dataset.series)];
    if (!series || index < 0 || index >= data.count) return "";
    var text = row.getAttribute("aria-label") || "";
    var ok = series[0][index];
    text = ok + " ok, " + series[1][index] + " refused, " + series[2][index] + " unknown" + (series[6][index] ? ", " + series[6][index] + " not sent" : "");
    return ok ? text + "\np50 " + time(series[3][index]) + " · p99 " + time(series[4][index]) + " · max " + time(series[5][index]) : text;
  }
  function show(event) {
    var row = event.target.closest ? event.target.closest(".row") : null;
    var plot = row && row.querySelector(".plot");
    if (!plot) { hide(); return; }
    var picture = row.closest(".picture"), cursor = picture.querySelector(".cursor");
    var box = plot.getBoundingClientRect(), frame = picture.getBoundingClientRect();
    var part = (event.clientX - box.left) / box.width;
    if (part < 0 || part > 1) { hide(); return; }
    var seen = range(picture);
    part = seen[0] + part * (seen[1] - seen[0]);
    var index = Math.min(Math.floor(part * data.count), data.count - 1);
    var span = Number(picture.dataset.span), at = Number(picture.dataset.from) + part * span;
    var shape = event.target.closest(".shape");
    var label = row.querySelector(".label").firstChild;
    var lines = [at.toFixed(span < 1 ? 4 : 2) + " s" + (label ? " · " + label.textContent : "")];
    if (shape) lines.push(shape.getAttribute("aria-label"));
    var counted = numbers(row, index);
    if (counted) lines.push(counted);
    tip.textContent = lines.join("\n");
    if (shown !== cursor) hide();
    shown = cursor;
    tip.style.display = cursor.style.display = "block";
    cursor.style.left = event.clientX - frame.left + "px";
    var width = tip.offsetWidth, height = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 6)) + "px";
    tip.style.top = (event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18) + "px";
  }
  function hide() { tip.style.display = "none"; if (shown) shown.style.display = "none"; }
  function range(picture) { return picture.seen || [0, 1]; }
  // A text that does not fit into its bar is shortened, and says so. A number is left out: half of it is a wrong one. The
  // tooltip has all.
  function fit() {
    document.querySelectorAll("svg.within > text").forEach(function (text) {
      var full = text.dataset.full || (text.dataset.full = text.textContent);
      text.textContent = full;
      var room = text.parentNode.width.baseVal.value - 10, length = text.getComputedTextLength();
      var isNumber = /^[0-9]/.test(full), kept = Math.floor(full.length * room / length) - 1;
      text.style.visibility = length > room && (isNumber || kept < 4) ? "hidden" : "";
      if (length > room && kept >= 4) text.textContent = full.slice(0, kept) + "\u2026";
    });
  }
  function ticks(picture, seen) {
    var from = Number(picture.dataset.from), span = Number(picture.dataset.span);
    var low = from + seen[0] * span, wide = (seen[1] - seen[0]) * span, step = 0.001;
    while (wide / step > 10) step *= [2, 2.5, 2][Math.round(Math.log10(step * 1000) * 3) % 3];
    var digits = step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3;
    picture.querySelectorAll(".axis .zoom").forEach(function (axis) {
      axis.textContent = "";
      for (var at = Math.ceil(low / step) * step; at <= low + wide; at += step) {
        var part = (at - from) / span, line = document.createElementNS(axis.namespaceURI, "line"), text = document.createElementNS(axis.namespaceURI, "text");
        line.setAttribute("class", "tick"); line.setAttribute("x1", part * 100 + "%"); line.setAttribute("x2", part * 100 + "%"); line.setAttribute("y2", "5");
        var seenPart = (part - seen[0]) / (seen[1] - seen[0]);
        text.setAttribute("x", part * 100 + "%"); text.setAttribute("y", "17");
        text.setAttribute("text-anchor", seenPart < 0.03 ? "start" : seenPart > 0.97 ? "end" : "middle");
        text.textContent = at.toFixed(digits) + " s";
        axis.append(line, text);
      }
    });
  }
  function zoom(picture, seen) {
    picture.seen = seen;
    var wide = seen[1] - seen[0];
    picture.querySelectorAll(".zoom").forEach(function (inner) {
      inner.setAttribute("x", -seen[0] / wide * 100 + "%");
      inner.setAttribute("width", 100 / wide + "%");
    });
    ticks(picture, seen);
    document.querySelectorAll(".whole").forEach(function (button) { button.hidden = wide === 1; });
    fit();
  }
  function draggable(picture) {
    var selection = document.createElement("div"), from = null, plot = null;
    selection.className = "selection";
    picture.append(selection);
    function part(event) {
      var box = plot.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    }
    picture.addEventListener("pointerdown", function (event) {
      plot = event.target.closest && event.target.closest(".plot");
      from = plot && event.button === 0 ? part(event) : null;
    });
    picture.addEventListener("pointermove", function (event) {
      if (from === null) return;
      var box = plot.getBoundingClientRect(), frame = picture.getBoundingClientRect(), to = part(event);
      selection.style.display = "block";
      selection.style.left = box.left - frame.left + Math.min(from, to) * box.width + "px";
      selection.style.width = Math.abs(to - from) * box.width + "px";
    });
    addEventListener("pointerup", function (event) {
      selection.style.display = "none";
      if (from === null) return;
      var to = part(event), low = Math.min(from, to), high = Math.max(from, to), seen = range(picture), wide = seen[1] - seen[0];
      from = null;
      if (high - low > 0.01 && (high - low) * wide > 1e-4) zoom(picture, [seen[0] + low * wide, seen[0] + high * wide]);
    });
    addEventListener("pointercancel", function () { from = null; selection.style.display = "none"; });
  }
  document.querySelectorAll(".picture:not(.anatomy)").forEach(draggable);
  document.querySelectorAll(".whole").forEach(function (button) {
    button.addEventListener("click", function () {
      document.querySelectorAll(".picture:not(.anatomy)").forEach(function (picture) { zoom(picture, [0, 1]); });
    });
  });
  addEventListener("resize", fit);
  fit();
  document.querySelectorAll(".picture").forEach(function (picture) {
    picture.addEventListener("pointermove", show);
    picture.addEventListener("pointerdown", show);
    picture.addEventListener("pointerleave", hide);
  });
  addEventListener("scroll", hide, { passive: true });
})();
