// An app in plain Node without a sign-in of its own.
//
// The proxy in front asks Bienvenue about each request. What gets here is from
// somebody who is signed in, and two headers say who that is:
//
// - Remote-User, an id that never changes and is never given to anybody else:
//   keep what belongs to a user under it;
// - Remote-Email, the address, if its mailbox was proven; otherwise nothing.
//   It may change.
//
// The proxy writes them over whatever a client sent under these names. So they
// can be believed as long as nobody reaches this port but the proxy: it listens
// on this machine only.
import { createServer } from "node:http";

createServer((request, response) => {
  const user = request.headers["remote-user"];
  const email = request.headers["remote-email"];

  // Plain text, in which no address is HTML.
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  if (!user) {
    // The proxy is missing, or does not ask. It keeps nobody out who writes
    // the header by hand: that is what the address to listen on is for.
    response.statusCode = 500;
    response.end("no proxy in front says whose request this is\n");
  } else if (request.url === "/" && request.method === "GET") {
    response.end(`Hello ${email || "whoever you are"}, user ${user}.\n`);
  } else {
    response.statusCode = 404;
    response.end("there is nothing here\n");
  }
}).listen(Number(process.env.PORT || 8000), "127.0.0.1");
