/* Draws the charts of calls with Chart.js, from what each canvas carries in data-chart, in the page's colours. */
"use strict";

(() => {
  const drawn = new Map(); // canvas -> its chart

  function colour(name) {
    // Chart.js mixes colours by itself for what the pointer is on, and knows neither variables nor oklch().
    const pen = document.createElement("canvas").getContext("2d");
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue] = pen.getImageData(0, 0, 1, 1).data;
    return `rgb(${red}, ${green}, ${blue})`;
  }

  function labels(data) {
    if (data.labels) return data.labels;
    // A day is one of UTC, in which the server counts.
    const written = new Intl.DateTimeFormat("sv-SE", {
      timeZone: data.unit === "day" ? "UTC" : window.voiceinfra.zone(), dateStyle: "short", timeStyle: "short",
    });
    return data.moments.map((moment) => {
      const [date, time] = written.format(new Date(moment)).split(" ");
      return data.unit === "day" ? date : `${date.slice(5)} ${time}`;
    });
  }

  function series(data) {
    const isLine = data.kind === "share";
    return data.series.map((one) => ({
      label: one.label,
      data: one.values,
      backgroundColor: colour(one.colour),
      borderColor: colour(one.colour),
      borderWidth: isLine ? 2 : 0,
      pointRadius: one.values.length > 48 ? 0 : 2,
      pointHitRadius: 8,
      spanGaps: true,
      stack: data.kind === "stack" ? "calls" : undefined,
      categoryPercentage: 0.9,
      barPercentage: 1,
    }));
  }

  function told(data, item) {
    const behind = data.series[item.datasetIndex].behind;
    if (!behind) return `${item.dataset.label}: ${item.formattedValue}`;
    return `${item.formattedValue}% answered, of ${behind[item.dataIndex]} calls`;
  }

  function options(data) {
    const text = colour("fg-muted");
    const isShare = data.kind === "share";
    const y = {
      stacked: data.kind === "stack", beginAtZero: true, max: isShare ? 100 : undefined,
      grid: { color: colour("border") }, border: { display: false },
      ticks: { color: text, precision: 0, callback: isShare ? (value) => `${value}%` : undefined },
    };
    if (!isShare) delete y.ticks.callback;
    return {
      responsive: true,
      maintainAspectRatio: false,
      animation: false, // redrawn as often as a filter changes
      interaction: { mode: "index", intersect: false },
      scales: {
        x: {
          stacked: data.kind === "stack", grid: { display: false }, border: { color: colour("border") },
          ticks: { color: text, maxRotation: 45, autoSkip: true, autoSkipPadding: 8 },
        },
        y,
      },
      plugins: {
        legend: {
          display: data.kind === "stack", position: "bottom",
          labels: { color: text, boxWidth: 10, boxHeight: 10, padding: 10 },
        },
        tooltip: { callbacks: { label: (item) => told(data, item) } },
      },
    };
  }

  function draw(canvas) {
    const data = JSON.parse(canvas.dataset.chart);
    drawn.get(canvas)?.destroy();
    drawn.set(canvas, new Chart(canvas, {
      type: data.kind === "share" ? "line" : "bar",
      data: { labels: labels(data), datasets: series(data) },
      options: options(data),
    }));
  }

  function drawAll() {
    for (const [canvas, chart] of drawn) {
      if (canvas.isConnected) continue;
      chart.destroy();
      drawn.delete(canvas);
    }
    for (const canvas of document.querySelectorAll("canvas[data-chart]")) draw(canvas);
  }

  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 11;
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.elt.querySelector?.("canvas[data-chart]") || drawn.size) {
      if (event.target.closest?.("#charts") || event.target.querySelector?.("#charts")) drawAll();
    }
  });
  document.addEventListener("voiceinfra:colours", drawAll);
  drawAll();
})();
