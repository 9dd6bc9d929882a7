"use strict";

// No validator: it is a service of somebody else, which would get the address of this one. A token lives as long as the
// page.
SwaggerUIBundle({
  dom_id: "#page",
  url: "/openapi.json",
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  persistAuthorization: false,
  defaultModelsExpandDepth: 0,
});
