// One page for an account. A form says in data-send which route it calls; what
// comes of a good answer stands in `done`, by its data-then or by the section
// around it. Whatever is refused is said in the service's own words, and known
// by its code.

const FOR_USERS = ["home", "password", "email", "delete"];
const FOR_ALL = ["sign-in", "sign-up", "forgot", "again"];
// The service's names for what is sent, where they begin a sentence.
const CALLED = {
  email: "The email", password: "The password",
  current_password: "The current password", new_password: "The new password",
};
const DEAD_LINK = "This link does not work: it was used, replaced by a newer one, or is too old. Have a new one mailed.";

const page = document.body.dataset;
const service = document.title;
const byId = (id) => document.getElementById(id);
const all = (query, root = document) => [...root.querySelectorAll(query)];

let me = "";      // the address that is signed in
let token = "";   // of the mailed link, until it was used
let landed = "";  // the view that this link wants
let next = null;  // where an app behind the sign-in wants to go on
let wanted = "";  // the view for which somebody has to sign in first
let told = "";    // what the next view says of the one before


// -- Which view

// At once, so that no history, screenshot or shared screen keeps the token.
function takeToken() {
  const said = new URLSearchParams(location.hash.slice(1));
  const kind = ["reset", "verify"].find((each) => said.get(each));
  if (!kind) return;
  [landed, token] = [kind, said.get(kind)];
  history.replaceState(null, "", location.pathname + location.search);
}

function route() {
  takeToken();
  if (landed) {
    const view = landed;
    landed = "";
    return show(view);
  }
  const said = new URLSearchParams(location.hash.slice(1));
  if (said.has("next")) next = ownPath(said.get("next"));
  const [view] = said.keys();
  if (FOR_ALL.includes(view) && !(me && view === "sign-in")) return show(view);
  if (me) return show(FOR_USERS.includes(view) ? view : "home");
  wanted = FOR_USERS.includes(view) ? view : "";
  return show("sign-in");
}

// Anybody can write a link with #next=, so only a path of our own origin is
// followed: // and /\ are other hosts to a browser, which also drops tabs and
// line breaks, and /.//host is a path only as part of a whole URL.
function ownPath(path) {
  if (!/^\/(?!\/)[!-[\]-~]{0,1999}$/.test(path)) return null;
  const url = new URL(path, location.origin);
  return url.origin === location.origin ? url : null;
}

function go(view, message = "") {
  told = message;
  if (location.hash === "#" + view) return show(view);
  history.pushState(null, "", "#" + view);
  return show(view);
}

let shown = "";
function show(view) {
  for (const section of all("main > section")) section.hidden = section.id !== view;
  const section = byId(view);
  for (const form of document.forms) clear(form);
  for (const secret of all("[autocomplete$=-password]")) {
    secret.value = "";
    mask(secret, true);
    measure(secret);
  }
  for (const each of all(".me")) each[each.tagName === "INPUT" ? "value" : "textContent"] = me;
  say(byId("problem"), "");
  say(byId("told"), told);
  told = "";
  byId("sign-in").querySelector(".again").hidden = true;
  const heading = section.querySelector("h1");
  document.title = `${heading.textContent} – ${service}`;
  if (shown) heading.focus();
  shown = view;
  if (view === "home") {
    byId("go-on").hidden = !next;
    if (next) Object.assign(byId("go-on").firstChild, { href: next.href, textContent: `Go on to ${next.pathname}` });
    list();
  }
}

function arrive(email) {
  const view = wanted || "home";
  [me, wanted] = [email, ""];
  return next ? location.assign(next.href) : go(view);
}

function leave(message) {
  me = "";
  byId("sessions").replaceChildren();
  go("sign-in", message);
}


// -- Asking the service

async function ask(send, data) {
  const [method, path] = send.split(" ");
  try {
    const answer = await fetch(path, {
      method, body: data && new URLSearchParams(data), redirect: "manual",
      headers: { Accept: "application/json, application/problem+json" },
    });
    const body = await answer.json().catch(() => ({}));
    return {
      body, status: answer.status, wait: Number(answer.headers.get("Retry-After")) || 0,
      // Signing out leads home, where a script has no business.
      ok: answer.ok || answer.type === "opaqueredirect",
      code: body.code,
      message: body.detail || body.message || `the service did not answer as it should (${answer.status}): try again in a moment`,
    };
  } catch {
    return { ok: false, status: 0, wait: 0, body: {},
      message: "the service cannot be reached: look whether you are online, then try again" };
  }
}

async function whoAmI() {
  const answer = await ask("GET /profile");
  me = answer.body.email || "";
  return answer.ok || answer.status === 403 ? "" : sentence(answer.message);
}

async function submitted(event) {
  event.preventDefault();
  const form = event.target;
  if (form.ariaBusy === "true" || submitOf(form).disabled) return;
  clear(form);
  const missing = all("input[required]", form).find((each) => !each.value);
  if (missing) return blame(missing, `Enter your ${form.querySelector(`[for=${missing.id}]`).textContent.toLowerCase()}.`);
  const data = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  for (const secret of all("[autocomplete$=-password]", form)) mask(secret, true);
  form.ariaBusy = "true";
  const view = form.closest("section").id;
  const answer = await ask(form.dataset.send, needed(view, data));
  form.ariaBusy = "false";
  if (answer.ok) return done[form.dataset.then || view](answer.body, data, form);
  return refuse(form, answer);
}

function needed(view, data) {
  if (view === "reset") return { ...data, reset_token: token };
  if (view === "verify") return { token };
  return Object.keys(data).length ? data : null;
}

const done = {
  "sign-in": (_, { email }) => arrive(email),
  "sign-up": async (_, data) => {
    if (page.mode === "production") return address("mailed", data.email);
    const answer = await ask("POST /sessions", data);
    return answer.ok ? arrive(data.email) : go("sign-in");
  },
  again: (_, { email }) => address("mailed", email),
  verify: async ({ email }) => {
    token = "";
    if (me) await whoAmI();
    fill("sign-in", email);
    go(me ? "home" : "sign-in", `${email} is confirmed.${me ? "" : " Sign in with it now."}`);
  },
  forgot: ({ reset_token: given }, { email }) => {
    fill("reset", email);
    if (!given) return address("reset-mailed", email);
    byId("reset-link").hash = "#reset=" + given;
    return address("reset-shown", email);
  },
  reset: ({ email }) => {
    token = "";
    fill("sign-in", email);
    leave("Your password is changed, and every device is signed out. Sign in with the new one.");
  },
  "sign-out": () => leave("You are signed out."),
  "end-others": () => list("All other devices are signed out."),
  "end-one": (_body, _data, form) => list(`${form.dataset.name} is signed out.`),
  export: (body) => {
    const file = document.createElement("a");
    file.href = URL.createObjectURL(new Blob([JSON.stringify(body, null, 2)], { type: "application/json" }));
    file.download = "account.json";
    file.click();
    setTimeout(URL.revokeObjectURL, 60000, file.href);
    say(byId("told"), "Your data is in the file account.json among your downloads.");
  },
  password: () => go("home", "Your password is changed, and every other device is signed out."),
  email: ({ email }) => go("home", `Open the link that is mailed to ${email}. Until then your address stays as it is.${page.mode === "production" ? "" : " (Development mode: the mail is in the log of the server.)"}`),
  delete: () => leave("Your account is deleted."),
};

// A view that says which address something is about.
function address(view, email) {
  fill("again", email);
  for (const each of all(".whose")) each.textContent = email;
  told = "";
  show(view);
}

function fill(view, email) {
  byId(view + "-email").value = email;
}


// -- What went wrong

function refuse(form, answer) {
  const { status, wait, code, message } = answer;
  if (isSignedOut(answer)) return undefined;
  if (form.dataset.send === "POST /sessions" && page.verifies === "1" && [401, 403].includes(status)) {
    byId("sign-in").querySelector(".again").hidden = false;
    fill("again", form.elements.email.value);
  }
  const proof = form.querySelector("[autocomplete=current-password]");
  // A message about a field begins with its name.
  const field = form.elements[message.split(" ")[0]] || (code === "wrong_password" && proof);
  if (field) return blame(field, sentence(message));
  const problem = form.querySelector(".problem") || byId("problem");
  say(problem, sentence(message));
  return wait ? holdBack(form, wait, problem) : (proof || problem).focus();
}

// A session that ended elsewhere; once signed in anew, people go on here.
function isSignedOut({ code }) {
  if (code !== "not_signed_in") return false;
  wanted = me && FOR_USERS.includes(shown) ? shown : "";
  leave("You were signed out. Sign in to go on.");
  return true;
}

// The service's own words, as people say them: what a program sends and calls
// is left out.
function sentence(message) {
  if (/^(reset_)?token is not valid/.test(message)) return DEAD_LINK;
  const said = message.replace(/ \([A-Z]+ \/\w+\)/, "")
    .replace(/^(\w+)(?= (is|contains) )/, (name) => CALLED[name] || name);
  return said[0].toUpperCase() + said.slice(1) + ".";
}

function blame(input, message) {
  input.setAttribute("aria-invalid", "true");
  say(byId(input.id + "-error"), message);
  input.focus();
}

function clear(form) {
  for (const each of all(".problem, .error", form)) say(each, "");
  for (const each of all("[aria-invalid]", form)) each.removeAttribute("aria-invalid");
}

function say(place, message) {
  place.textContent = message;
}

function submitOf(form) {
  return form.querySelector("[type=submit]");
}

// The button counts down and is there again when the time is over.
function holdBack(form, seconds, problem) {
  const button = submitOf(form), label = button.textContent;
  const until = Date.now() + seconds * 1000;
  button.disabled = true;
  problem.focus();
  function tick() {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.textContent = `Try again in ${spelled(left)}`;
    if (left > 0) return setTimeout(tick, 200);
    button.textContent = label;
    button.disabled = false;
    return say(problem, "You can try again now.");
  }
  tick();
}

function spelled(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.ceil(seconds / 3600)} h`;
}


// -- Sessions

async function list(message = "") {
  const answer = await ask("GET /sessions");
  if (!answer.ok) return isSignedOut(answer) || say(byId("problem"), sentence(answer.message));
  const items = answer.body.sessions.sort((one, other) => other.current - one.current || other.seen_at - one.seen_at);
  byId("sessions").replaceChildren(...items.map(item));
  byId("end-others").hidden = items.length < 2;
  if (message) {
    say(byId("told"), message);
    byId("devices").focus();
  }
  return undefined;
}

function item(session) {
  const row = byId("session").content.cloneNode(true);
  const name = device(session.user_agent), form = row.querySelector("form");
  row.querySelector("b").textContent = name;
  row.querySelector(".here").hidden = !session.current;
  row.querySelector(".hint").textContent = `${session.network}, ${session.current ? "signed in" : "last seen"} ${ago(session.current ? session.opened_at : session.seen_at)}`;
  if (session.current) form.remove();
  form.dataset.name = name;
  form.dataset.send = `DELETE /sessions/${session.id}`;
  submitOf(form).ariaLabel = `Sign out ${name}, ${session.network}`;
  return row;
}

// A name that its owner recognises; the rest of what browsers say of
// themselves is for nobody.
function device(agent) {
  const browser = [["Edg", "Edge"], ["OPR/", "Opera"], ["Firefox/"], ["Chrome/"], ["Safari/"], ["curl/"]]
    .find(([mark]) => agent.includes(mark));
  const system = [["iPhone"], ["iPad"], ["Android"], ["Windows"], ["Mac OS", "macOS"], ["CrOS", "ChromeOS"], ["Linux"]]
    .find(([mark]) => agent.includes(mark));
  if (!browser) return agent.slice(0, 40) || "Unknown device";
  const [name, place] = [browser, system].map((each) => each && (each[1] || each[0].replace("/", "")));
  return place ? `${name} on ${place}` : name;
}

function ago(at) {
  const seconds = at - Date.now() / 1000;
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60]]
    .find((each) => -seconds >= each[1]) || ["second", Infinity];
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.round(seconds / size) || 0, unit);
}


// -- Fields

function mask(input, masked) {
  const button = input.parentElement.querySelector(".reveal");
  if (!button) return;
  input.type = masked ? "password" : "text";
  button.textContent = masked ? "Show" : "Hide";
  button.ariaLabel = button.ariaLabel.replace(/^\w+/, button.textContent);
}

// How long it is, counted as the service does; all other rules are its own.
function measure(input) {
  const bar = input.closest(".field").querySelector("progress");
  if (!bar) return;
  const length = [...input.value.normalize("NFC")].length;
  const count = bar.parentElement.querySelector(".count"), enough = length >= bar.max;
  bar.value = length;
  count.textContent = enough ? "\u2713 long enough" : `${length} of ${bar.max}`;
  count.classList.toggle("enough", enough);
}

function typed({ target }) {
  if (target.getAttribute("aria-invalid")) {
    target.removeAttribute("aria-invalid");
    say(byId(target.id + "-error"), "");
  }
  if (target.closest(".field")) measure(target);
}

function clicked({ target }) {
  const link = target.closest("a[href^='#']");
  if (link && link.hash === location.hash) route();
  if (target.matches(".reveal")) {
    const input = target.parentElement.querySelector("input");
    mask(input, input.type === "text");
  }
  if (target.matches("[data-again]")) {
    show("again");
    if (byId("again-email").value) byId("again").querySelector("form").requestSubmit();
  }
}

async function start() {
  takeToken();
  document.addEventListener("submit", submitted);
  document.addEventListener("click", clicked);
  document.addEventListener("input", typed);
  addEventListener("hashchange", route);
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  const trouble = page.session === "1" ? await whoAmI() : "";
  route();
  say(byId("problem"), trouble);
}

start();
