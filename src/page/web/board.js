/**
 * The drawing: two jacks, a field of pins between them, and a cord whose free end shows the phase.
 * It repeats the text and adds no information, so it is hidden from screen readers.
 *
 * The free end of the cord is a mass on a spring; each phase sets its target position. During a
 * call, waves along the cord show the audio levels: the visitor's to the right, the partner's to
 * the left. With prefers-reduced-motion the drawing is static.
 */

const SVG = 'http://www.w3.org/2000/svg';
const YOU = { x: 130, y: 112 };
const PARTNER = { x: 510, y: 112 };
const TICKS = 31;
const CORD_POINTS = 36;
const REDUCED_MOTION = matchMedia('(prefers-reduced-motion: reduce)');

/**
 * Target position of the free end, and how far the cord sags.
 * @typedef {{ x: number, y: number, sag: number, plugged?: boolean, roams?: boolean }} Pose
 * @type {Record<import('./phase.js').Phase['name'], Pose>}
 */
const POSES = {
  blocked: { x: 214, y: 224, sag: 40 },
  welcome: { x: 214, y: 224, sag: 40 },
  asking: { x: 214, y: 224, sag: 40 },
  mic_failed: { x: 214, y: 224, sag: 40 },
  ready: { x: 258, y: 190, sag: 56 },
  stopped: { x: 214, y: 224, sag: 40 },
  refused: { x: 258, y: 190, sag: 56 },
  searching: { x: 320, y: 104, sag: 74, roams: true },
  connecting: { x: 428, y: 150, sag: 86 },
  talking: { ...PARTNER, sag: 104, plugged: true },
  ended: { x: 430, y: 218, sag: 34 },
};

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {Element} parent
 */
function draw(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  parent.append(element);
  return element;
}

/** One end of a call: a jack and the gauge around it. */
class Jack {
  #group;
  #halo;
  /** @type {Element[]} */
  #ticks = [];
  #lit = 0;

  /**
   * @param {Element} parent
   * @param {{ x: number, y: number }} at
   */
  constructor(parent, { x, y }) {
    this.#group = draw('g', { class: 'jack', transform: `translate(${x} ${y})` }, parent);
    this.#halo = draw('circle', { class: 'halo', r: 88 }, this.#group);
    for (let i = 0; i < TICKS; i += 1) {
      // From the lower left over the top to the lower right, like a gauge.
      const angle = (135 + (270 * i) / (TICKS - 1)) * (Math.PI / 180);
      const [dx, dy] = [Math.cos(angle), Math.sin(angle)];
      const ends = { x1: 66 * dx, y1: 66 * dy, x2: 74 * dx, y2: 74 * dy };
      this.#ticks.push(draw('line', { class: 'tick', ...ends }, this.#group));
    }
    draw('circle', { class: 'face', r: 50 }, this.#group);
    draw('circle', { class: 'collar', r: 26 }, this.#group);
    draw('circle', { class: 'bore', r: 15 }, this.#group);
  }

  /** Draws the slash. It lies above the cord, so it is drawn after it. */
  drawSlash() {
    draw('line', { class: 'slash', x1: -36, y1: 36, x2: 36, y2: -36 }, this.#group);
  }

  /** @param {{ live: boolean, muted: boolean }} how */
  set({ live, muted }) {
    this.#group.classList.toggle('live', live);
    this.#group.classList.toggle('muted', muted);
  }

  /** @param {number} level 0 to 1 */
  level(level) {
    const lit = Math.round(level * TICKS);
    const [from, to] = [Math.min(lit, this.#lit), Math.max(lit, this.#lit)];
    for (let i = from; i < to; i += 1) this.#ticks[i].classList.toggle('lit', lit > this.#lit);
    this.#lit = lit;
    /** @type {SVGElement} */ (this.#halo).style.opacity = (level * 0.16).toFixed(3);
  }
}

export class Board {
  #you;
  #partner;
  /** @type {{ element: Element, x: number, y: number }[]} */
  #pins = [];
  #cord;
  #thread;
  #youPlug;
  #freePlug;
  /** @type {Pose} */
  #pose = POSES.welcome;
  #end = { x: POSES.welcome.x, y: POSES.welcome.y, sag: POSES.welcome.sag };
  #speed = { x: 0, y: 0, sag: 0 };
  #lastMs = 0;

  /** @param {SVGElement} svg */
  constructor(svg) {
    for (let row = 0; row < 4; row += 1) {
      for (let column = 0; column < 5; column += 1) {
        const [x, y] = [244 + column * 38, 46 + row * 44];
        this.#pins.push({ element: draw('circle', { class: 'pin', cx: x, cy: y, r: 7 }, svg), x, y });
      }
    }
    this.#you = new Jack(svg, YOU);
    this.#partner = new Jack(svg, PARTNER);
    this.#cord = draw('path', { class: 'cord' }, svg);
    this.#thread = draw('path', { class: 'thread' }, svg);
    this.#youPlug = plug(svg);
    this.#freePlug = plug(svg);
    this.#you.drawSlash();
    this.#partner.drawSlash();
  }

  /**
   * @param {import('./phase.js').Phase['name']} phase
   * @param {{ open: boolean, muted: boolean, partnerMuted: boolean }} how
   */
  set(phase, { open, muted, partnerMuted }) {
    this.#pose = POSES[phase];
    this.#you.set({ live: open, muted: open && muted });
    this.#partner.set({ live: phase === 'talking', muted: phase === 'talking' && partnerMuted });
  }

  /**
   * Draws one frame.
   * @param {number} nowMs
   * @param {{ you: number, partner: number }} levels 0 to 1
   */
  frame(nowMs, levels) {
    const stepS = Math.min(0.032, (nowMs - this.#lastMs) / 1000);
    this.#lastMs = nowMs;
    this.#move(stepS, nowMs / 1000);
    this.#you.level(levels.you);
    this.#partner.level(levels.partner);
    this.#drawCord(nowMs / 1000, levels);
    this.#lightPins();
  }

  /**
   * @param {number} stepS
   * @param {number} nowS
   */
  #move(stepS, nowS) {
    const { sag, roams } = this.#pose;
    let { x, y } = this.#pose;
    if (REDUCED_MOTION.matches) {
      this.#end = { x, y, sag };
      return;
    }
    if (roams) {
      x += 80 * Math.sin(nowS * 0.9);
      y += 52 * Math.sin(nowS * 1.43);
    }
    for (const [axis, target] of /** @type {['x' | 'y' | 'sag', number][]} */ ([
      ['x', x],
      ['y', y],
      ['sag', sag],
    ])) {
      this.#speed[axis] += (90 * (target - this.#end[axis]) - 13 * this.#speed[axis]) * stepS;
      this.#end[axis] += this.#speed[axis] * stepS;
    }
  }

  /**
   * @param {number} nowS
   * @param {{ you: number, partner: number }} levels
   */
  #drawCord(nowS, levels) {
    const { plugged } = this.#pose;
    const swing = plugged && !REDUCED_MOTION.matches ? 9 : 0;
    const points = [];
    for (let i = 0; i <= CORD_POINTS; i += 1) {
      const t = i / CORD_POINTS;
      const wave =
        levels.you * Math.sin(2 * Math.PI * (3 * t - 2.4 * nowS)) +
        levels.partner * Math.sin(2 * Math.PI * (3 * t + 2.4 * nowS));
      const x = YOU.x + (this.#end.x - YOU.x) * t;
      const y = YOU.y + (this.#end.y - YOU.y) * t;
      const hang = this.#end.sag * 4 * t * (1 - t) + swing * wave * Math.sin(Math.PI * t);
      points.push({ x, y: y + hang });
    }
    const path = `M${points.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`).join('L')}`;
    this.#cord.setAttribute('d', path);
    this.#thread.setAttribute('d', path);
    place(this.#youPlug, points[0], points[2], true);
    place(this.#freePlug, points[CORD_POINTS], points[CORD_POINTS - 2], plugged === true);
  }

  #lightPins() {
    const { x, y } = this.#end;
    const roams = this.#pose.roams && !REDUCED_MOTION.matches;
    for (const pin of this.#pins) {
      pin.element.classList.toggle('lit', !!roams && Math.hypot(pin.x - x, pin.y - y - 4) < 24);
    }
  }
}

/** @param {Element} parent */
function plug(parent) {
  const group = draw('g', {}, parent);
  draw('rect', { class: 'tip', x: -4, y: -17, width: 8, height: 22, rx: 4 }, group);
  draw('rect', { class: 'grip', x: -8.5, y: -1, width: 17, height: 36, rx: 7 }, group);
  draw('rect', { class: 'band', x: -8.5, y: 6, width: 17, height: 3.5 }, group);
  return group;
}

/**
 * @param {Element} element
 * @param {{ x: number, y: number }} at
 * @param {{ x: number, y: number }} from a point of the cord before the plug.
 * @param {boolean} plugged whether the tip is inside the jack, and so hidden.
 */
function place(element, at, from, plugged) {
  const angle = (Math.atan2(at.y - from.y, at.x - from.x) * 180) / Math.PI + 90;
  element.setAttribute(
    'transform',
    `translate(${at.x.toFixed(1)} ${at.y.toFixed(1)}) rotate(${angle.toFixed(1)})`,
  );
  element.classList.toggle('plugged', plugged);
}
