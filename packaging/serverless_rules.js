// Hands `custom.rules` on as the template's Rules, which the Serverless Framework passes over and CloudFormation checks
// before it makes anything: what template.yaml refuses is refused by a plain `osls deploy` too.
module.exports = class ServerlessRules {
  constructor(serverless) {
    const { service } = serverless;
    this.hooks = {
      "aws:package:finalize:mergeCustomProviderResources": () => {
        service.provider.compiledCloudFormationTemplate.Rules = service.custom.rules;
      },
    };
  }
};
