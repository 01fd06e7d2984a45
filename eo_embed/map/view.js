"use strict";
// The map itself: projection, view, drawing, and what lies under a point. Longitudes of items may go beyond 180.

const RAD = Math.PI / 180;
const KM_PER_DEGREE = 111.195;
const DOT = 6; // pixels of the least that is drawn of an item
const CROWD = 3000; // of more items in view no edges are drawn

// A projection turns degrees into units of a plane whose y points down. Without tiles: equirectangular, true to scale
// along the middle parallel of the items. Tiles are made in Web Mercator, so with them the map is.
function equirectangular(latitude) {
  const c = Math.max(Math.cos(latitude * RAD), 0.05);
  return { x: lon => lon * c, y: lat => -lat, lon: x => x / c, lat: y => -y };
}

function mercator() {
  const limit = 85.0511;
  const y = lat => -Math.log(Math.tan(Math.PI / 4 + Math.max(-limit, Math.min(limit, lat)) * RAD / 2)) / RAD;
  return { x: lon => lon, y, lon: x => x, lat: v => (2 * Math.atan(Math.exp(-v * RAD)) - Math.PI / 2) / RAD };
}

function middleLatitude(rings) {
  let low = 90, high = -90;
  for (const item of rings) for (const ring of item) for (let i = 1; i < ring.length; i += 2) {
    low = Math.min(low, ring[i]);
    high = Math.max(high, ring[i]);
  }
  return low > high ? 0 : (low + high) / 2;
}

// Outlines on the plane, with their boxes [left, top, right, bottom].
function onPlane(rings, projection) {
  return rings.map(item => {
    if (!item.length) return null;
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    const paths = item.map(ring => {
      const path = new Float64Array(ring.length);
      for (let i = 0; i < ring.length; i += 2) {
        const x = path[i] = projection.x(ring[i]), y = path[i + 1] = projection.y(ring[i + 1]);
        box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y);
        box[2] = Math.max(box[2], x); box[3] = Math.max(box[3], y);
      }
      return path;
    });
    return { paths, box, x: (box[0] + box[2]) / 2, y: (box[1] + box[3]) / 2 };
  });
}

function inside(paths, x, y) {
  let found = false;
  for (const p of paths) {
    for (let i = 0, j = p.length - 2; i < p.length; j = i, i += 2) {
      if ((p[i + 1] > y) !== (p[j + 1] > y) && x < (p[j] - p[i]) * (y - p[i + 1]) / (p[j + 1] - p[i + 1]) + p[i]) found = !found;
    }
  }
  return found;
}

// 1, 2 or 5 times a power of ten, at least so large.
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least) + 1e-9);
  return [1, 2, 5, 10].map(n => n * power).find(n => n >= least * 0.999999);
}

// Steps of a graticule above 5 degrees are whole parts of a circle.
function graticuleStep(least) {
  return least <= 5 ? roundStep(least) : [10, 15, 30, 60, 90].find(n => n >= least) ?? 180;
}

function degrees(value, step, names) {
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const shown = Math.abs(value).toFixed(digits);
  return Number(shown) === 0 || (names === "EW" && Number(shown) === 180) ? `${shown}°` : `${shown}°\u00a0${names[value > 0 ? 0 : 1]}`;
}

function normal(lon) {
  return ((lon + 180) % 360 + 360) % 360 - 180;
}

function kilometres(a, b, projection) {
  const [p, q] = [a, b].map(one => projection.lat(one.y) * RAD);
  const turn = (projection.lon(a.x) - projection.lon(b.x)) * RAD;
  const h = Math.sin((p - q) / 2) ** 2 + Math.cos(p) * Math.cos(q) * Math.sin(turn / 2) ** 2;
  return 2 * 6371.0088 * Math.asin(Math.min(1, Math.sqrt(h)));
}

class View {
  constructor(canvas, content) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.content = content;
    this.projection = content.tiles ? mercator() : equirectangular(middleLatitude(content.rings));
    this.shapes = onPlane(content.rings, this.projection);
    this.placed = this.shapes.flatMap((shape, i) => shape ? [i] : []);
    this.images = new Map();
    this.tileImages = new Map();
    this.chosen = this.pointed = this.focused = -1;
    this.x = this.y = 0;
    this.scale = 1;
    this.waiting = false;
    this.theme();
  }

  theme() {
    const style = getComputedStyle(document.documentElement);
    this.colour = Object.fromEntries(["sea", "grid", "label", "edge", "chosen", "alike", "panel"].map(n => [n, style.getPropertyValue(`--${n}`).trim()]));
    this.redraw();
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    const first = !this.width;
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    if (first) this.fit(this.placed);
    this.redraw();
  }

  // The centre and scale at which some items fill the window.
  framing(numbers) {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const i of numbers) {
      const own = this.shapes[i]?.box;
      if (!own) continue;
      for (const k of [0, 1]) { box[k] = Math.min(box[k], own[k]); box[k + 2] = Math.max(box[k + 2], own[k + 2]); }
    }
    if (box[0] > box[2]) return null;
    const margin = Math.min(70, this.width / 6);
    const scale = Math.min((this.width - 2 * margin) / Math.max(box[2] - box[0], 1e-6), (this.height - 2 * margin) / Math.max(box[3] - box[1], 1e-6));
    return { x: (box[0] + box[2]) / 2, y: (box[1] + box[3]) / 2, scale: this.limited(scale) };
  }

  fit(numbers) {
    const frame = this.framing(numbers);
    if (frame) Object.assign(this, frame);
    this.redraw();
  }

  limited(scale) {
    return Math.max(Math.min(this.width, 2 * this.height) / 420, Math.min(3e6, scale));
  }

  toScreen(x, y) { return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2]; }
  toPlane(px, py) { return [(px - this.width / 2) / this.scale + this.x, (py - this.height / 2) / this.scale + this.y]; }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toPlane(px, py);
    this.scale = this.limited(this.scale * factor);
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y - (py - this.height / 2) / this.scale;
    this.redraw();
  }

  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.redraw();
  }

  seen(i) {
    const shape = this.shapes[i];
    if (!shape) return false;
    const [left, top] = this.toScreen(shape.box[0], shape.box[1]), [right, bottom] = this.toScreen(shape.box[2], shape.box[3]);
    return right > 0 && left < this.width && bottom > 0 && top < this.height;
  }

  // Items under a point of the window, the smallest first; where there is none, the nearest within reach.
  at(px, py, reach) {
    const [x, y] = this.toPlane(px, py);
    const found = [], near = [];
    for (const i of this.placed) {
      const { box, paths } = this.shapes[i];
      if (x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3] && inside(paths, x, y)) {
        found.push([(box[2] - box[0]) * (box[3] - box[1]), i]);
      } else {
        const dx = Math.max(box[0] - x, 0, x - box[2]), dy = Math.max(box[1] - y, 0, y - box[3]);
        const gap = Math.hypot(dx, dy) * this.scale;
        if (gap <= reach) near.push([gap, i]);
      }
    }
    const order = (a, b) => a[0] - b[0] || a[1] - b[1];
    return (found.length ? found.sort(order) : near.sort(order).slice(0, 1)).map(one => one[1]);
  }

  redraw() {
    if (this.waiting || !this.width) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  draw() {
    const pen = this.pen;
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.fillStyle = this.colour.sea;
    pen.fillRect(0, 0, this.width, this.height);
    if (this.content.tiles) this.drawTiles();
    const lines = this.graticule();
    const similar = this.chosen < 0 ? [] : this.content.similar[this.chosen];
    const seen = this.placed.filter(i => this.seen(i));
    for (const i of seen) this.drawItem(i, seen.length > CROWD);
    similar.forEach(i => this.link(i));
    similar.filter(i => this.shapes[i] && !this.small(i)).forEach(i => this.mark(i, this.colour.alike));
    if (this.pointed >= 0) this.mark(this.pointed, this.colour.edge);
    if (this.focused >= 0 && this.focused !== this.chosen) this.mark(this.focused, this.colour.chosen, [5, 4]);
    for (let rank = similar.length; rank > 0; rank--) this.badge(similar[rank - 1], String(rank));
    if (this.chosen >= 0) this.mark(this.chosen, this.colour.chosen);
    this.label(lines);
    this.scaleBar();
  }

  small(i) {
    const { box } = this.shapes[i];
    return Math.max(box[2] - box[0], box[3] - box[1]) * this.scale < DOT;
  }

  // The outline of an item, or a square around its middle if it is too small to be seen.
  trace(i, side = DOT) {
    const pen = this.pen, { paths, x, y } = this.shapes[i];
    pen.beginPath();
    if (this.small(i)) {
      const [px, py] = this.toScreen(x, y);
      pen.rect(px - side / 2, py - side / 2, side, side);
      return;
    }
    for (const p of paths) {
      for (let k = 0; k < p.length; k += 2) {
        const [px, py] = this.toScreen(p[k], p[k + 1]);
        if (k) pen.lineTo(px, py); else pen.moveTo(px, py);
      }
      pen.closePath();
    }
  }

  drawItem(i, crowded) {
    const pen = this.pen, { box, x, y } = this.shapes[i], colour = this.content.colours[i] || this.colour.grid;
    if (crowded && this.small(i)) {
      const [px, py] = this.toScreen(x, y);
      pen.fillStyle = colour;
      pen.fillRect(px - DOT / 2, py - DOT / 2, DOT, DOT);
      return;
    }
    this.trace(i);
    if ((box[2] - box[0]) * this.scale > 24 && this.drawCells(i)) {
      this.trace(i);
    } else {
      pen.fillStyle = colour;
      pen.fill();
    }
    if (crowded) return;
    pen.lineWidth = 0.75;
    pen.strokeStyle = this.colour.edge;
    pen.stroke();
  }

  // The picture of a grid, laid between the corners of its ground and cut to its outline.
  drawCells(i) {
    const address = this.content.cells[i], c = this.content.corners[i];
    if (!address || !c) return false;
    const image = this.loaded(this.images, i, address);
    if (!image) return false;
    const p = this.projection, corner = k => this.toScreen(p.x(c[2 * k]), p.y(c[2 * k + 1]));
    const [a, b, d] = [corner(0), corner(1), corner(3)];
    const pen = this.pen, w = image.naturalWidth, h = image.naturalHeight;
    pen.save();
    pen.clip();
    pen.imageSmoothingEnabled = false;
    pen.transform((b[0] - a[0]) / w, (b[1] - a[1]) / w, (d[0] - a[0]) / h, (d[1] - a[1]) / h, a[0], a[1]);
    // A little larger, as edges of a map are curves here.
    pen.drawImage(image, -0.02, -0.02, w + 0.04, h + 0.04);
    pen.restore();
    return true;
  }

  loaded(images, key, address) {
    if (!images.has(key)) {
      if (images.size > 600) images.delete(images.keys().next().value);
      const image = new Image();
      image.onload = () => this.redraw();
      image.src = address;
      images.set(key, image);
    }
    const image = images.get(key);
    return image.complete && image.naturalWidth ? image : null;
  }

  link(i) {
    const from = this.shapes[this.chosen], to = this.shapes[i];
    if (!from || !to) return;
    this.stroke(this.colour.alike, 1.5, () => {
      this.pen.moveTo(...this.toScreen(from.x, from.y));
      this.pen.lineTo(...this.toScreen(to.x, to.y));
    });
  }

  // A line with a rim in the colour of the ground, so that it is seen on any colour.
  stroke(colour, width, path, dashes = []) {
    const pen = this.pen;
    for (const [own, wide] of [[this.colour.sea, width + 2], [colour, width]]) {
      pen.beginPath();
      path();
      pen.setLineDash(own === colour ? dashes : []);
      pen.lineWidth = wide;
      pen.strokeStyle = own;
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  mark(i, colour, dashes = []) {
    if (this.seen(i)) this.stroke(colour, 3, () => this.trace(i, 2 * DOT), dashes);
  }

  badge(i, text) {
    if (!this.seen(i)) return;
    const pen = this.pen, { x, box } = this.shapes[i];
    // The number stands above the item, so that its colours stay in sight.
    const [px, top] = this.toScreen(x, box[1]);
    const py = Math.max(34, Math.min(top, this.height - 12)), wide = (box[2] - box[0]) * this.scale;
    pen.beginPath();
    pen.arc(px, py, wide > 30 ? 10 : 8, 0, 2 * Math.PI);
    pen.fillStyle = this.colour.alike;
    pen.fill();
    pen.lineWidth = 1.5;
    pen.strokeStyle = this.colour.sea;
    pen.stroke();
    pen.fillStyle = this.colour.panel;
    pen.font = `600 ${wide > 30 ? 12 : 11}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(text, px, py + 0.5);
  }

  graticule() {
    const p = this.projection, pen = this.pen, lines = [];
    const [left, top] = this.toPlane(0, 0), [right, bottom] = this.toPlane(this.width, this.height);
    const north = Math.min(90, p.lat(top)), south = Math.max(-90, p.lat(bottom)), west = p.lon(left), east = p.lon(right);
    const gap = Math.max(56, Math.min(110, this.width * 0.16));
    const stepX = graticuleStep((east - west) * gap / this.width), stepY = graticuleStep((p.lat(top) - p.lat(bottom)) * gap * 0.6 / this.height);
    pen.lineWidth = 1;
    pen.strokeStyle = this.colour.grid;
    pen.beginPath();
    for (let n = Math.ceil(west / stepX); n * stepX <= east; n++) {
      const [px] = this.toScreen(p.x(n * stepX), 0);
      const [, from] = this.toScreen(0, p.y(north)), [, to] = this.toScreen(0, p.y(south));
      pen.moveTo(px, from); pen.lineTo(px, to);
      lines.push({ px, text: degrees(normal(n * stepX), stepX, "EW") });
    }
    for (let n = Math.ceil(south / stepY); n * stepY <= north; n++) {
      const [, py] = this.toScreen(0, p.y(n * stepY));
      pen.moveTo(0, py); pen.lineTo(this.width, py);
      lines.push({ py, text: degrees(n * stepY, stepY, "NS") });
    }
    pen.stroke();
    return lines;
  }

  // Longitudes along the upper edge, latitudes along the left one; none in the corner where they would meet.
  label(lines) {
    const pen = this.pen;
    pen.font = "12px system-ui, sans-serif";
    let end = 62;
    for (const { px, py, text } of lines) {
      const half = pen.measureText(text).width / 2 + 4;
      if (px !== undefined && px - half > end && px + half < this.width) {
        this.write(text, px, 13, "center");
        end = px + half;
      }
      if (py !== undefined && py > 30 && py < this.height - 50) this.write(text, 7, py, "left");
    }
  }

  write(text, x, y, align) {
    const pen = this.pen;
    pen.textAlign = align;
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    pen.lineWidth = 4;
    pen.strokeStyle = this.colour.sea;
    pen.strokeText(text, x, y);
    pen.fillStyle = this.colour.label;
    pen.fillText(text, x, y);
  }

  // True in the middle of the window.
  scaleBar() {
    const p = this.projection, [, y] = this.toPlane(0, this.height / 2);
    const lat = Math.max(-89, Math.min(89, p.lat(y)));
    const perPixel = KM_PER_DEGREE * Math.cos(lat * RAD) * (p.lon(1) - p.lon(0)) / this.scale;
    const km = roundStep(perPixel * 50);
    const long = km / perPixel, left = 12, foot = this.height - 14;
    this.stroke(this.colour.label, 2, () => {
      this.pen.moveTo(left, foot - 6); this.pen.lineTo(left, foot); this.pen.lineTo(left + long, foot); this.pen.lineTo(left + long, foot - 6);
    });
    this.write(km >= 1 ? `${km.toLocaleString("en")} km` : `${Math.round(km * 1000)} m`, left + 5, foot - 10, "left");
  }

  drawTiles() {
    const { url } = this.content.tiles;
    const z = Math.max(0, Math.min(19, Math.round(Math.log2(this.scale * 360 / 256)))), count = 2 ** z, size = 360 / count;
    const [left, top] = this.toPlane(0, 0), [right, bottom] = this.toPlane(this.width, this.height);
    const last = Math.min(count - 1, Math.floor((bottom + 180) / size));
    for (let row = Math.max(0, Math.floor((top + 180) / size)); row <= last; row++) {
      for (let column = Math.floor((left + 180) / size); column * size - 180 < right; column++) {
        const x = ((column % count) + count) % count;
        const address = url.replace("{z}", z).replace("{x}", x).replace("{y}", row);
        const image = this.loaded(this.tileImages, address, address);
        const [px, py] = this.toScreen(column * size - 180, row * size - 180), long = size * this.scale;
        if (image) this.pen.drawImage(image, px, py, long + 0.5, long + 0.5);
      }
    }
  }
}
