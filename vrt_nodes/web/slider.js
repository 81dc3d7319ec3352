// Two pictures or two videos under one slider. Plain DOM: knows nothing of ComfyUI.

const STYLE = `
.vrt-slider { display: flex; flex-direction: column; width: 100%; height: 100%; min-height: 0; box-sizing: border-box;
  font: 12px sans-serif; color: var(--input-text, #ddd); background: var(--comfy-input-bg, #222); border-radius: 6px; overflow: hidden; }
.vrt-slider-stage { position: relative; flex: 1 1 0; min-height: 0; overflow: hidden; cursor: ew-resize; touch-action: none; background: #111; }
.vrt-slider-stage > img, .vrt-slider-stage > video { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain;
  pointer-events: none; user-select: none; }
.vrt-slider-line { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: #fff; box-shadow: 0 0 3px #000; pointer-events: none; }
.vrt-slider-line::after { content: "\\2039\\2009\\203a"; position: absolute; top: 50%; left: 50%; transform: translate(-50%, -50%); width: 24px;
  height: 24px; line-height: 21px; text-align: center; font-size: 18px; color: #111; background: #fff; border-radius: 50%; box-shadow: 0 0 3px #000; }
.vrt-slider-tag { position: absolute; top: 6px; padding: 2px 6px; color: #fff; background: rgba(0, 0, 0, 0.6); border-radius: 4px; pointer-events: none; }
.vrt-slider-message { position: absolute; inset: 0; display: flex; align-items: center; justify-content: center; padding: 12px; text-align: center;
  color: #aaa; pointer-events: none; }
.vrt-slider-bar { flex: none; display: flex; gap: 6px; align-items: center; height: 28px; padding: 0 6px; }
.vrt-slider-bar input { flex: 1 1 0; min-width: 0; accent-color: #6aa6ff; }
.vrt-slider-bar output { min-width: 56px; text-align: right; font-variant-numeric: tabular-nums; }
.vrt-slider-bar button { display: flex; padding: 3px; border: none; border-radius: 4px; background: none; color: inherit; cursor: pointer; }
.vrt-slider-bar button:hover { background: rgba(128, 128, 128, 0.3); }
.vrt-slider [hidden] { display: none; }
`;

const ICONS = {
  play: "M5 3l9 5-9 5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  loud: "M2 6h3l4-3v10l-4-3H2zM11 5q3 3 0 6z",
  mute: "M2 6h3l4-3v10l-4-3H2zM11 6l4 4-1 1-4-4zM14 5l1 1-4 4-1-1z",
  full: "M2 2h5v2H4v3H2zM9 2h5v5h-2V4H9zM2 9h2v3h3v2H2zM12 9h2v5H9v-2h3z",
};
const APART_SECONDS = 0.05; // two videos further apart than this are brought together

function element(tag, className, parent) {
  const made = document.createElement(tag);
  made.className = className;
  parent?.append(made);
  return made;
}

function setIcon(button, name, title) {
  button.innerHTML = `<svg width="16" height="16" viewBox="0 0 16 16" fill="currentColor"><path d="${ICONS[name]}"/></svg>`;
  button.title = title;
  button.setAttribute("aria-label", title);
}

/** The element is `slider.root`; fill it with `showImages` or `showVideos`, and call `clear` when done with it. */
export class Slider {
  constructor({ before = "before", after = "after", empty = "" } = {}) {
    if (!document.querySelector("style.vrt-slider-style")) {
      element("style", "vrt-slider-style", document.head).textContent = STYLE;
    }
    this.words = { before, after, empty };
    this.root = element("div", "vrt-slider");
    this.stage = element("div", "vrt-slider-stage", this.root);
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "slider");
    this.stage.setAttribute("aria-label", `${before} / ${after}`);
    this.line = element("div", "vrt-slider-line", this.stage);
    this.tags = { before: element("span", "vrt-slider-tag", this.stage), after: element("span", "vrt-slider-tag", this.stage) };
    this.tags.before.style.left = this.tags.after.style.right = "6px";
    this.message = element("div", "vrt-slider-message", this.stage);
    this.bar = element("div", "vrt-slider-bar", this.root);
    this.playButton = element("button", "", this.bar);
    this.seek = element("input", "", this.bar);
    this.seek.type = "range";
    this.count = element("output", "", this.bar);
    this.soundButton = element("button", "", this.bar);
    this.fullButton = element("button", "", this.bar);
    setIcon(this.fullButton, "full", "Full screen");

    this.stage.addEventListener("pointermove", (event) => this.#followPointer(event));
    this.stage.addEventListener("pointerdown", (event) => this.#followPointer(event));
    this.stage.addEventListener("keydown", (event) => this.#onKey(event));
    this.seek.addEventListener("input", () => this.#onSeek(Number(this.seek.value)));
    this.playButton.addEventListener("click", () => this.togglePlay());
    this.soundButton.addEventListener("click", () => this.#setMuted(!this.after.muted));
    this.fullButton.addEventListener("click", () =>
      document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen(),
    );
    this.clear();
  }

  /** Empty the stage and stop what plays. */
  clear() {
    cancelAnimationFrame(this.beat);
    for (const medium of [this.before, this.after]) {
      medium?.pause?.();
      medium?.removeAttribute("src");
      medium?.load?.(); // lets go of the file
      medium?.remove();
    }
    this.before = this.after = null;
    this.frames = [];
    this.bar.hidden = this.line.hidden = this.tags.before.hidden = this.tags.after.hidden = true;
    this.#say(this.words.empty);
    this.moveTo(50);
  }

  /** Show pictures: two lists of addresses of equal length, one pair for each frame. */
  showImages(before, after) {
    this.#open("img", "load");
    this.frames = before.map((address, n) => ({ before: address, after: after[n] }));
    const several = this.frames.length > 1;
    this.playButton.hidden = this.soundButton.hidden = true;
    this.seek.hidden = this.count.hidden = !several;
    this.bar.style.justifyContent = several ? "" : "flex-end";
    this.seek.min = 0;
    this.seek.max = this.frames.length - 1;
    this.seek.step = 1;
    this.seek.value = 0;
    this.#onSeek(0);
  }

  /** Play two videos together, in a loop. */
  showVideos(before, after) {
    this.#open("video", "loadedmetadata");
    for (const [video, address] of [[this.before, before], [this.after, after]]) {
      video.muted = video.playsInline = true;
      video.preload = "auto";
      video.src = address;
      video.addEventListener("loadedmetadata", () => (this.seek.max = this.#seconds()));
    }
    this.playButton.hidden = this.soundButton.hidden = this.seek.hidden = this.count.hidden = false;
    this.bar.style.justifyContent = "";
    this.seek.min = 0;
    this.seek.step = 0.001;
    this.#setMuted(true);
    this.before.addEventListener("ended", () => this.#restart());
    this.after.addEventListener("ended", () => this.#restart());
    this.before.addEventListener("seeked", () => this.#tick());
    this.play();
  }

  play() {
    setIcon(this.playButton, "pause", "Pause");
    const started = [this.before.play(), this.after.play()];
    Promise.all(started).catch(() => this.before && this.before.paused && setIcon(this.playButton, "play", "Play"));
    cancelAnimationFrame(this.beat);
    const beat = () => {
      this.#tick();
      this.beat = requestAnimationFrame(beat);
    };
    beat();
  }

  pause() {
    setIcon(this.playButton, "play", "Play");
    cancelAnimationFrame(this.beat);
    this.before.pause();
    this.after.pause();
    this.after.currentTime = this.before.currentTime; // the same moment, to the frame
    this.#tick();
  }

  togglePlay() {
    if (this.before?.tagName === "VIDEO") this.before.paused ? this.play() : this.pause();
  }

  /** Put the line at a share of the width, 0 to 100: "before" to its left, "after" to its right. */
  moveTo(percent) {
    this.percent = Math.min(100, Math.max(0, percent));
    this.line.style.left = `${this.percent}%`;
    if (this.before) this.before.style.clipPath = `inset(0 ${100 - this.percent}% 0 0)`;
    if (this.after) this.after.style.clipPath = `inset(0 0 0 ${this.percent}%)`;
    this.stage.setAttribute("aria-valuenow", Math.round(this.percent));
  }

  #open(tag, ready) {
    this.clear();
    this.#say("");
    for (const side of ["after", "before"]) {
      const medium = document.createElement(tag);
      medium.draggable = false;
      this.stage.prepend(medium);
      this[side] = medium;
      medium.addEventListener(ready, () => {
        const size = `${medium.naturalWidth ?? medium.videoWidth}×${medium.naturalHeight ?? medium.videoHeight}`;
        this.tags[side].textContent = `${this.words[side]} ${size}`;
        this.tags[side].hidden = false;
      });
      medium.addEventListener("error", () => {
        if (medium.isConnected) this.#say(`"${this.words[side]}" cannot be shown: the file is gone, or of a kind that this browser does not know.`);
      });
    }
    this.bar.hidden = this.line.hidden = false;
    this.moveTo(50);
  }

  #say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  #followPointer(event) {
    if (!this.before || event.buttons & 4) return;
    const box = this.stage.getBoundingClientRect();
    this.moveTo((100 * (event.clientX - box.left)) / box.width);
  }

  #onKey(event) {
    const step = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (step) this.moveTo(this.percent + step);
    else if (event.key === " ") this.togglePlay();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #onSeek(value) {
    if (this.frames.length) {
      this.before.src = this.frames[value].before;
      this.after.src = this.frames[value].after;
      this.count.textContent = `${value + 1} / ${this.frames.length}`;
    } else {
      this.pause();
      this.before.currentTime = this.after.currentTime = value;
    }
  }

  #seconds() {
    const known = [this.before.duration, this.after.duration].filter(Number.isFinite);
    return known.length ? Math.min(...known) : 0;
  }

  #restart() {
    this.before.currentTime = this.after.currentTime = 0;
    this.play();
  }

  #setMuted(muted) {
    this.after.muted = muted; // one of the two is enough to hear
    setIcon(this.soundButton, muted ? "mute" : "loud", muted ? "Sound on" : "Sound off");
  }

  #tick() {
    if (!this.before) return;
    const now = this.before.currentTime;
    const apart = Math.abs(this.after.currentTime - now);
    if (apart > APART_SECONDS && !this.after.seeking && !this.after.ended) this.after.currentTime = now;
    if (document.activeElement !== this.seek || !this.before.paused) this.seek.value = now;
    this.count.textContent = `${now.toFixed(1)} / ${this.#seconds().toFixed(1)} s`;
  }
}
