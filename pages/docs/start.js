// Shows the description of this very server. Nothing is sent anywhere else:
// there is no validator, and the policy of the page allows no other origin.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#routes",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
