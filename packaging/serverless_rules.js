// Hands `custom.rules` on as the template's Rules, which the Serverless Framework passes over and CloudFormation checks
// before it makes anything: what template.yaml refuses is refused by a plain `osls deploy` too.
//
// A new stack is made with its bucket alone at first, and yet with `stackParameters`: CloudFormation refuses values of
// parameters that a template does not declare, so the first template declares them too, and has the Rules to be first.
module.exports = class ServerlessRules {
  constructor(serverless) {
    const { service } = serverless;
    this.hooks = {
      "aws:package:finalize:mergeCustomProviderResources": () => {
        const { compiledCloudFormationTemplate, coreCloudFormationTemplate } = service.provider;
        compiledCloudFormationTemplate.Rules = service.custom.rules;
        coreCloudFormationTemplate.Rules = service.custom.rules;
        coreCloudFormationTemplate.Parameters = service.resources.Parameters;
      },
    };
  }
};
