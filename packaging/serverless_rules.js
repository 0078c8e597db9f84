// A plugin of the Serverless Framework for serverless.yml.
const { existsSync } = require("node:fs");
const path = require("node:path");

// The framework creates these resources from `events` and `url`. They get the logical IDs of template.yaml: its outputs
// refer to them, and an update of an existing stack keeps the API and its URL.
const NAMES = {
  getLogGroupLogicalId: () => "ExporterLog",
  getHttpApiLogicalId: () => "Api",
  getHttpApiStageLogicalId: () => "ApiStage",
  getHttpApiIntegrationLogicalId: () => "ApiIntegration",
  getHttpApiRouteLogicalId: (route) => ({ "GET /": "RootRoute", "GET /{proxy+}": "EverythingRoute" })[route],
  getLambdaHttpApiPermissionLogicalId: () => "ApiPermission",
  getLambdaFunctionUrlLogicalId: () => "FunctionUrl",
  getLambdaFnUrlPermissionLogicalId: () => "FunctionUrlPermission",
  getLambdaFnPermissionLogicalId: () => "FunctionUrlInvokePermission",
};

module.exports = class ServerlessRules {
  constructor(serverless) {
    const { service } = serverless;
    const provider = serverless.getProvider("aws");
    Object.assign(provider.naming, NAMES);

    const requirePackage = () => {
      const { artifact } = service.package;
      if (!existsSync(path.resolve(serverless.serviceDir, artifact))) {
        throw new serverless.classes.Error(`${artifact} is missing; run \`make package\` or \`cargo lambda build\` first`);
      }
    };

    this.hooks = {
      "before:package:cleanup": requirePackage,
      "before:deploy:function:initialize": () => {
        requirePackage();
        // `deploy function` would look up the role by a name, but CloudFormation generates the name.
        delete service.functions.exporter.role;
      },
      // The framework ignores the section Rules of `resources`. CloudFormation checks the rules before it creates
      // anything.
      //
      // The framework creates a new stack with only its bucket, but with all `stackParameters`. CloudFormation refuses
      // parameters that the template does not declare, so this first template declares them, and has the rules, too.
      "aws:package:finalize:mergeCustomProviderResources": () => {
        const { compiledCloudFormationTemplate, coreCloudFormationTemplate } = service.provider;
        compiledCloudFormationTemplate.Rules = service.custom.rules;
        coreCloudFormationTemplate.Rules = service.custom.rules;
        coreCloudFormationTemplate.Parameters = service.resources.Parameters;
        const { Outputs } = compiledCloudFormationTemplate;
        Outputs.HttpApiId.Condition = Outputs.HttpApiUrl.Condition = "HasHttpApi";
        Outputs[provider.naming.getLambdaFunctionUrlOutputLogicalId("exporter")].Condition = "HasFunctionUrl";
      },
    };
  }
};
