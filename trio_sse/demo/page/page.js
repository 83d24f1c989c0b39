// One EventSource for all that the page shows, another while there is an answer.

const byId = (id) => document.getElementById(id);
const show = (id, text) => { byId(id).textContent = text; };
const still = matchMedia("(prefers-reduced-motion: reduce)");

// The name of this page, for the server: what to cut off, and who has said what.
const page = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);

const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const say = (text) => show("status", text);

// Milliseconds; a request waits for ever if other tabs have all of a browser's connections.
const PATIENCE = 5000;

// The status of the answer, or 0 if there is none.
async function post(path, body) {
  const signal = AbortSignal.timeout(PATIENCE);
  try {
    return (await fetch(`${path}?page=${page}`, { method: "POST", body, signal })).status;
  } catch {
    say("No answer. Is the server there, and are no more than five tabs open?");
    return 0;
  }
}

// Numbers: each once, in order, whatever happens to the connection.

const LATE = 150; // milliseconds after which a number has not come as it happened
const BARS = 72;
const numbers = { last: null, received: 0, missing: 0, doubled: 0, caughtUp: 0 };
const bars = [];
let barsDrawn = false;
const DRIFT = 0.01; // milliseconds that two clocks may part by from one number to the next
let fastest = Infinity; // the clock of this page minus the server's, and the shortest way
let longestPause = 0;
let lastArrival = null;

function countNumber(event) {
  const { number, at } = JSON.parse(event.data);
  const now = performance.now();
  const way = now - at * 1000;
  fastest = Math.min(fastest + DRIFT, way);
  const late = lostAt !== null && way - fastest > LATE;
  if (numbers.last !== null && number <= numbers.last) numbers.doubled += 1;
  else if (numbers.last !== null) numbers.missing += number - numbers.last - 1;
  numbers.last = Math.max(numbers.last ?? 0, number);
  numbers.received += 1;
  if (late) numbers.caughtUp += 1;
  else if (lostAt !== null) comeBack();
  if (lastArrival !== null) longestPause = Math.max(longestPause, now - lastArrival);
  lastArrival = now;
  bars.push({ number, late });
  bars.splice(0, bars.length - BARS);
  barsDrawn = false;
  showCounts();
}

function showCounts() {
  for (const name of ["received", "missing", "doubled"]) {
    show(name, numbers[name].toLocaleString("en"));
  }
  byId("missing").classList.toggle("wrong", numbers.missing > 0);
  byId("doubled").classList.toggle("wrong", numbers.doubled > 0);
}

function startAnew(event) {
  Object.assign(numbers, { last: null, received: 0, missing: 0, doubled: 0 });
  measures.length = 0;
  fastest = Infinity;
  settle();
  say(`There is a gap (${JSON.parse(event.data).reason}): the count starts anew.`);
}

const wave = byId("wave");
wave.append(...Array.from({ length: BARS }, () => document.createElement("i")));

function drawWave() {
  const first = BARS - bars.length;
  [...wave.children].forEach((bar, index) => {
    const drawn = bars[index - first];
    bar.style.height = drawn ? `${50 + 42 * Math.sin(drawn.number / 7)}%` : "0";
    bar.className = drawn?.late ? "late" : "";
  });
}

// Charts of the last minute; what was missed while away is filled in.

const LONGEST = 60; // seconds that fit into a chart
const SHORTEST = 5; // and those that it has at first
const STEP = 500; // milliseconds between two measures
const measures = [];

function chart(id, field, title) {
  const svg = byId(id);
  const [area, line] = ["area", "line"].map((name) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", name);
    svg.append(path);
    return path;
  });
  return () => {
    const values = measures.map((measure) => measure[field]);
    const highest = Math.max(...values);
    const top = Math.max(highest, 1) * 1.25;
    const end = measures.at(-1).at;
    const scale = 600 / Math.max(end - measures[0].at, SHORTEST);
    const points = measures.map(({ at, [field]: value }) => {
      const x = 600 - (end - at) * scale;
      return `${x.toFixed(1)},${(96 - (90 * value) / top).toFixed(1)}`;
    });
    line.setAttribute("d", `M${points.join("L")}`);
    area.setAttribute("d", `M${points[0].split(",")[0]},100L${points.join("L")}L600,100Z`);
    const all = `now ${values.at(-1)}, lowest ${Math.min(...values)}, highest ${highest}`;
    show(`${field}-highest`, Math.round(highest));
    svg.setAttribute("aria-label", `${title} in the last minute: ${all}.`);
    if (!still.matches) {
      const moved = [{ transform: `translateX(${(scale * STEP) / 1000}px)` }, {}];
      for (const path of [area, line]) path.animate(moved, { duration: STEP });
    }
  };
}

const drawRate = chart("rate-chart", "rate", "Events per second");
const drawClients = chart("clients-chart", "clients", "Connected clients");

function addMeasure(latest) {
  measures.push(latest);
  while (measures[0].at < latest.at - LONGEST) measures.shift();
  show("rate", Math.round(latest.rate));
  show("clients", latest.clients);
  if (latest.server !== server) arriveAt(latest.server);
  drawRate();
  drawClients();
}

// The connection: cut off, drained, and back.

let source = null;
let opened = 0;
let lostAt = null;
let ending = null; // what ends the stream, or has: "cut", "drain", "full", or nobody knows
let drainAsked = false;
let server = null;

const LOSSES = {
  drain: "The server has said farewell. The browser comes back by itself.",
  full: "The server has as many streams as it takes. The browser tries again by itself.",
};

function setState(state, text) {
  byId("state").dataset.state = state;
  show("state", text);
}

function open() {
  opened += 1;
  setState("connected", "Connected");
  if (opened === 1) say("Connected. Everything below is live.");
  show("reconnections", opened - 1);
}

function lose() {
  lastArrival = null;
  if (lostAt === null) { // or it has been said, and the browser has tried in vain
    lostAt = performance.now();
    numbers.caughtUp = 0;
    say(LOSSES[ending] ?? "The connection is cut. The browser comes back by itself.");
  }
  if (source.readyState === EventSource.CLOSED) {
    setState("closed", "Closed");
    say("The stream is closed for good. Reload the page.");
  } else {
    setState("connecting", "Reconnecting");
  }
}

function comeBack() {
  const away = seconds(performance.now() - lostAt);
  const { caughtUp, missing } = numbers;
  const report = `Back after ${away}: ${plural(caughtUp, "number")} caught up, ${missing} missing.`;
  say(report);
  if (ending === "cut") show("cut-result", report);
  if (ending === "drain") {
    byId("drain-result").dataset.report = report;
    showServer();
  }
  settle();
}

function settle() {
  lostAt = null;
  ending = null;
  drainAsked = false;
}

function arriveAt(number) {
  server = number;
  showServer();
}

function showServer() {
  const { report } = byId("drain-result").dataset;
  show("drain-result", `This is server ${server}.${report ? ` ${report}` : ""}`);
}

byId("cut").addEventListener("click", async () => {
  if (source?.readyState !== EventSource.OPEN) {
    say("There is nothing to cut: the page is not connected.");
    return;
  }
  if (ending) return; // it is on its way
  ending = "cut";
  if ((await post("cut")) !== 204 && ending === "cut") ending = null;
});

byId("drain").addEventListener("click", async () => {
  if (drainAsked) return; // the next server would leave as well
  drainAsked = true;
  if ((await post("drain")) !== 202) drainAsked = false;
});

// A client that freezes.

const ALREADY = 200; // the status, if there is one
let frozenSince = null;
let freezeTimeout = 3;

function tellOfFrozen(event) {
  const news = JSON.parse(event.data);
  if (news.state === "frozen") {
    frozenSince = performance.now();
    freezeTimeout = news.timeout;
    longestPause = 0;
    byId("freeze-progress").max = freezeTimeout;
    say(`A client is frozen. It is dropped in ${freezeTimeout} seconds.`);
    countDown();
    return;
  }
  frozenSince = null;
  byId("freeze-progress").value = 0;
  const report = news.reason === "send_timeout"
    ? `The frozen client was dropped ${news.seconds.toFixed(1)} s after it had connected.`
    : `The frozen client left otherwise: ${news.reason ?? "it was never served"}.`;
  show("freeze-result", `${report} Longest pause between two numbers here meanwhile: `
    + `${Math.round(longestPause)} ms.`);
  say(report);
}

function countDown() {
  if (frozenSince === null) return;
  const waited = (performance.now() - frozenSince) / 1000;
  byId("freeze-progress").value = waited;
  const left = Math.max(0, freezeTimeout - waited).toFixed(still.matches ? 0 : 1);
  show("freeze-result", `It reads nothing, and is dropped in ${left} s.`);
  setTimeout(countDown, still.matches ? 1000 : 100);
}

byId("freeze").addEventListener("click", async () => {
  if (frozenSince !== null || (await post("freeze")) === ALREADY) {
    say("One client is frozen already; wait until it is dropped.");
  }
});

// The feed.

function addMessage({ text, page: author }) {
  const item = document.createElement("li");
  const who = Object.assign(document.createElement("span"), { className: "who" });
  who.textContent = author === page ? "You" : author;
  item.append(who, text);
  byId("feed").prepend(item);
  while (byId("feed").children.length > 20) byId("feed").lastChild.remove();
}

function receiveMessage(event) {
  const message = JSON.parse(event.data);
  addMessage(message);
  say(message.page === page ? "Published." : `${message.page} says: ${message.text}`);
}

byId("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = byId("text").value.trim();
  byId("text").value = ""; // at once, or whoever is quick says it twice
  if (!text) return;
  const status = await post("publish", text);
  if (status === 204) return;
  byId("text").value ||= text;
  if (status) say("The message was refused.");
});

// An answer, token by token.

let answer = null;

function endAnswer() {
  answer?.close();
  answer = null;
  if (document.activeElement === byId("stop")) byId("start").focus();
  byId("stop").disabled = true;
}

byId("start").addEventListener("click", () => {
  endAnswer();
  show("tokens", "");
  show("tokens-result", "The answer is coming.");
  say("The answer is coming.");
  byId("stop").disabled = false;
  answer = new EventSource(`tokens?page=${page}`);
  answer.addEventListener("token", ({ data }) => {
    const box = byId("tokens");
    box.append(`${data} `);
    box.scrollTop = box.scrollHeight;
  });
  // The server ends the stream now; a browser would come back, and ask for more.
  answer.addEventListener("done", () => { answer.onerror = endAnswer; });
  answer.onerror = ({ target }) => {
    if (target.readyState !== EventSource.CLOSED) return; // it comes back by itself
    show("tokens-result", "There is no answer.");
    endAnswer();
  };
});

byId("stop").addEventListener("click", () => {
  show("tokens-result", "Stopped here.");
  endAnswer();
});

const ENDINGS = {
  completed: (tokens) => `Complete: ${tokens}, and the event that says so.`,
  client_disconnected: (tokens) => `Stopped: the producer was cancelled after ${tokens}.`,
  shutdown: (tokens) => `The server left after ${tokens}; the next one goes on.`,
};

function tellOfAnswer(event) {
  const { page: whose, tokens, reason } = JSON.parse(event.data);
  if (whose !== page) return;
  if (answer && reason === "client_disconnected") return; // the one before, stopped for this one
  const text = ENDINGS[reason]?.(plural(tokens, "token")) ?? `It ended otherwise: ${reason}.`;
  show("tokens-result", text);
  say(text);
}

// Begin with what there is, and go on right after it.

async function askForState() {
  try {
    return await (await fetch("state", { signal: AbortSignal.timeout(PATIENCE) })).json();
  } catch {
    return { last_event_id: null, feed: [], measures: [] }; // as if there were nothing yet
  }
}

async function begin() {
  const { last_event_id: id, ...before } = await askForState();
  before.feed.forEach(addMessage);
  before.measures.forEach(addMeasure);
  const query = new URLSearchParams({ page, ...(id && { last_event_id: id }) });
  source = new EventSource(`events?${query}`);
  source.onopen = open;
  source.onerror = lose;
  source.addEventListener("numbers", countNumber);
  source.addEventListener("measures", (event) => addMeasure(JSON.parse(event.data)));
  source.addEventListener("feed", receiveMessage);
  source.addEventListener("frozen", tellOfFrozen);
  source.addEventListener("answers", tellOfAnswer);
  source.addEventListener("reset", startAnew);
  source.addEventListener("farewell", () => { ending = "drain"; });
  source.addEventListener("overloaded", () => { ending = "full"; });
}

let drawnAt = 0;

function draw(now) {
  if (!barsDrawn && now - drawnAt >= (still.matches ? 1000 : 0)) {
    barsDrawn = true;
    drawnAt = now;
    drawWave();
  }
  requestAnimationFrame(draw);
}

requestAnimationFrame(draw);
begin();
