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
    var index = Math.min(Math.floor(part * data.count), data.count - 1);
    var span = Number(picture.dataset.span), at = Number(picture.dataset.from) + part * span;
    var shape = event.target.closest(".shape");
    var lines = [at.toFixed(span < 1 ? 4 : 2) + " s · " + row.querySelector(".label").firstChild.textContent];
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
  document.querySelectorAll(".picture").forEach(function (picture) {
    picture.addEventListener("pointermove", show);
    picture.addEventListener("pointerdown", show);
    picture.addEventListener("pointerleave", hide);
  });
  addEventListener("scroll", hide, { passive: true });
})();
