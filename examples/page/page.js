// Sign up, sign in, see who you are, sign out: a page of your own, on the
// origin of Bienvenue. The session is a cookie that no script can read, so
// there is nothing to keep here, and nothing for a stranger's script to take.

const [form, member, email, leave, said] = ["stranger", "member", "email",
  "leave", "said"].map((id) => document.getElementById(id));

// What a link says after its #, which browsers send to nobody. A token has no
// place in the history.
const link = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, "", location.pathname);
addEventListener("hashchange", () => location.reload());

// Ask Bienvenue; return what it says, or throw the sentence of its refusal.
async function ask(method, path, fields) {
  // Not followed: signing out answers with a redirect to /, and fetch would
  // repeat the DELETE there.
  const answer = await fetch(path, {
    method, redirect: "manual", body: fields && new URLSearchParams(fields) });
  if (answer.type === "opaqueredirect") return {};
  const told = await answer.json();
  if (answer.ok) return told;
  const wait = answer.headers.get("Retry-After"); // with 429 and 503
  throw { status: answer.status, text: told.message + (wait ? ` (${wait} s)` : "") };
}

// Show the form or the profile, whichever fits.
async function show() {
  const profile = await ask("GET", "/profile").catch((error) => {
    if (error.status !== 403) throw error; // nobody is signed in
  });
  email.textContent = profile?.email;
  [form.hidden, member.hidden] = [Boolean(profile), !profile];
}

// Do something, and say what came of it.
const run = (task) => task().catch((error) => error.text ?? "Nobody answers.")
  .then((text) => { said.textContent = text ?? ""; });

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const path = event.submitter.value;
  run(async () => {
    await ask("POST", path, new FormData(form));
    if (path === "/users") return "Now open the link in your mail.";
    await show();
    // Back to where we were sent from: a path, as anybody can write a link.
    const next = new URL(link.get("next") ?? "", location);
    if (link.has("next") && next.origin === location.origin) location = next;
  });
});
leave.addEventListener("click", () => run(
  async () => { await ask("DELETE", "/sessions"); await show(); }));

const token = link.get("verify");
await run(async () => {
  await show();
  if (token) return (await ask("PUT", "/verify_email", { token })).message;
});
